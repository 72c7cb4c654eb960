import pytest

from textok.datamodules.dataset import seeded
from textok.datamodules.policies import (
    ClassName,
    FirstCaption,
    FirstThatHas,
    FirstWords,
    LongestCaption,
    RandomCaption,
    Record,
    TemplateCaption,
)

RECORD = Record("key", ["one", "two", "three"], "class")


def test_first_caption_is_the_first_in_training_too():
    policy = FirstCaption()
    assert policy.choices(RECORD) == ["one"]
    assert {policy.pick(RECORD, seeded(n)) for n in range(50)} == {policy.pick(RECORD)} == {"one"}


def test_random_caption_takes_each_about_as_often_and_the_first_in_evaluation():
    policy = RandomCaption()
    picks = [policy.pick(RECORD, seeded(n)) for n in range(600)]
    assert all(150 < picks.count(caption) < 250 for caption in RECORD.captions)
    assert picks == [policy.pick(RECORD, seeded(n)) for n in range(600)]
    assert policy.pick(RECORD) == "one"


def test_drop_is_for_training_only():
    policy = RandomCaption(drop=0.25)
    picks = [policy.pick(RECORD, seeded(n)) for n in range(400)]
    assert 70 < picks.count("") < 130
    assert policy.pick(RECORD) == "one"
    assert FirstCaption(drop=1.0).pick(RECORD, seeded(0)) == ""


def test_an_image_without_captions_has_the_empty_one():
    record = Record("key", [], "class")
    assert FirstCaption().pick(record) == RandomCaption().pick(record, seeded(0)) == ""


@pytest.mark.parametrize("drop", [-0.1, 1.1])
def test_drop_must_be_a_probability(drop):
    with pytest.raises(ValueError, match="drop"):
        FirstCaption(drop=drop)


POLICIES = [
    FirstCaption(),
    RandomCaption(),
    LongestCaption(),
    ClassName(),
    TemplateCaption("a drawing of a {class}"),
    FirstWords(1, RandomCaption()),
    FirstWords(2, TemplateCaption()),
    FirstThatHas([LongestCaption(), TemplateCaption()]),
]
RECORDS = [RECORD, Record("k", ["two words", "and  three   words"], "tree frog"), Record("k", [], "cat")]


@pytest.mark.parametrize("policy", POLICIES, ids=repr)
@pytest.mark.parametrize("record", RECORDS, ids=lambda record: record.class_name)
def test_choices_are_what_is_picked_and_all_of_it(policy, record):
    picks = {policy.pick(record, seeded(n)) for n in range(100)} | {policy.pick(record)}
    assert picks == set(policy.choices(record) or [""])


def test_dropping_adds_only_the_empty_caption():
    for policy in (LongestCaption(0.5), ClassName(0.5), FirstWords(1, drop=0.5), FirstThatHas([ClassName()], 0.5)):
        assert {policy.pick(RECORD, seeded(n)) for n in range(60)} == {*policy.choices(RECORD), ""}


def test_what_each_policy_chooses():
    record = Record("k", ["a cat", "a tabby cat on a  mat", "cat"], "tabby")
    assert LongestCaption().choices(record) == ["a tabby cat on a  mat"]
    assert ClassName().choices(record) == ["tabby"]
    assert TemplateCaption().choices(record) == ["a photo of a tabby"]
    assert FirstWords(3, LongestCaption()).choices(record) == ["a tabby cat"]
    assert FirstWords(6, LongestCaption()).choices(record) == ["a tabby cat on a  mat"]  # not cut, not respaced
    assert FirstWords(2, RandomCaption()).choices(record) == ["a cat", "a tabby", "cat"]
    fallback = FirstThatHas([RandomCaption(), TemplateCaption()])
    assert fallback.choices(record) == record.captions
    assert fallback.choices(Record("k", [], "tabby")) == ["a photo of a tabby"]


def test_mistakes_in_a_policy_are_refused():
    with pytest.raises(ValueError, match=r"has no \{class\}"):
        TemplateCaption("a photo")
    with pytest.raises(ValueError, match="num_words must be at least 1, got 0"):
        FirstWords(0)
    with pytest.raises(ValueError, match="at least one policy"):
        FirstThatHas([])
    with pytest.raises(ValueError, match=r"RandomCaption has drop 0\.1, but stands inside another policy"):
        FirstWords(25, RandomCaption(drop=0.1))


def test_a_policy_tells_what_its_choices_depend_on():
    assert repr(FirstWords(25, LongestCaption(), drop=0.1)) == "FirstWords(num_words=25, policy=LongestCaption())"

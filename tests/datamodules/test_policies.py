import pytest

from textok.datamodules.dataset import seeded
from textok.datamodules.policies import FirstCaption, RandomCaption, Record

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

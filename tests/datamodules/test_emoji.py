from importlib import resources

import pytest
import torch

from textok.datamodules import EmojiDataModule


@pytest.fixture(scope="module")
def emoji():
    data = EmojiDataModule(image_size=32)
    data.setup()
    return data


def both(data):
    return [(split, i) for split in (data.splits.train, data.splits.held_out) for i in range(len(split))]


def test_all_emoji_are_there_once_and_a_tenth_is_held_out(emoji):
    keys = [split.key(i) for split, i in both(emoji)]
    assert len(keys) == len(set(keys)) == 1599
    assert len(emoji.splits.held_out) == 160
    assert len(emoji.class_names) == emoji.num_classes == 95 and emoji.class_names == sorted(emoji.class_names)
    # Each class can be learned.
    train = emoji.splits.train
    assert {train.label(i) for i in range(len(train))} == set(range(95))


def test_an_emoji_has_its_picture_caption_and_label(emoji):
    found = {split.key(i): (split, i) for split, i in both(emoji)}
    for key, name, color in (
        ("1f34e", "red apple, a fruit emoji, food and drink", 0),
        ("1f438", "frog face, an amphibian emoji, animals and nature", 1),
        ("1f535", "large blue circle, a geometric shape emoji, symbols", 2),
    ):
        split, i = found[key]
        assert split.captions(i) == [name]
        picture = split.image(i)
        assert picture.shape == (3, 64, 64) and picture.dtype == torch.uint8
        assert (picture[:, 0, 0] == 255).all(), "the background is white"
        assert picture[:, 24:40, 24:40].float().mean((1, 2)).argmax() == color
    split, i = found["1f438"]
    assert emoji.class_names[split.label(i)] == "animal-amphibian"


def test_captions_are_short_plain_english(emoji):
    captions = [caption for split, i in both(emoji) for caption in split.captions(i)]
    assert all(caption == caption.lower() and not set("_&\n") & set(caption) for caption in captions)
    assert max(len(caption.split()) for caption in captions) <= 17
    assert len(set(captions)) > 1590


def test_each_class_has_captions_to_sample_with(emoji):
    captions = emoji.class_captions()
    assert len(captions) == 95 and all(captions)
    unseen = {emoji.splits.held_out.captions(i)[0] for i in range(160)}
    frogs = emoji.class_names.index("animal-amphibian")
    assert captions[frogs] == ["frog face, an amphibian emoji, animals and nature"]
    mammals = emoji.class_names.index("animal-mammal")
    assert set(captions[mammals]) <= unseen


@pytest.mark.parametrize("image_size", [7, 32, 64])
def test_any_size_up_to_64(image_size):
    data = EmojiDataModule(image_size=image_size, batch_size=8)
    data.setup()
    assert next(iter(data.train_dataloader())).image.shape == (8, 3, image_size, image_size)


def test_more_than_the_pack_holds_is_refused():
    with pytest.raises(ValueError, match=r"image_size is 128.*at most 64"):
        EmojiDataModule(image_size=128)


def test_the_pack_is_small_and_licensed():
    folder = resources.files("textok.datamodules") / "data" / "emoji"
    assert sum(len(file.read_bytes()) for file in folder.iterdir()) <= 6_000_000
    assert "MIT License" in (folder / "LICENSE.txt").read_text()

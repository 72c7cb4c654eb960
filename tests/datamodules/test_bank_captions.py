"""A bank in front of a datamodule."""

import numpy as np
import pytest
import torch
from jsonargparse import ArgumentParser

from textok.datamodules import (
    BankCaptions,
    ImageDataModule,
    NoCaption,
    OwnCaptions,
    RandomCaption,
    ShapesDataModule,
    SkipImage,
    TemplateForMissing,
)
from textok.datamodules.bank_captions import BankedImages
from textok.datamodules.caption_bank import CaptionBank, build_bank
from textok.datamodules.caption_files import CaptionRow
from textok.datamodules.order import mixed


def shapes(bank=None, **kwargs):
    data = ShapesDataModule(16, num_train=6, num_val=3, batch_size=2, caption_bank=bank, **kwargs)
    data.setup()
    return data


@pytest.fixture(scope="module")
def plain():
    return shapes()


@pytest.fixture(scope="module")
def bank(tmp_path_factory, plain):
    """Captions of all training images but the second and the fifth, and of all held-out ones."""
    path = tmp_path_factory.mktemp("bank") / "captions.bank"
    keys = [plain.splits.train.key(i) for i in (0, 2, 3, 5)] + [plain.splits.held_out.key(i) for i in range(3)]
    build_bank([CaptionRow(key, [f"{key} short", f"{key} rather long"], "") for key in keys], path)
    return path


def captions_of(data, split="train"):
    images = getattr(data.splits, split)
    return [images.captions(i) for i in range(len(images))]


def test_an_image_without_a_caption_stops_the_run_by_default(bank):
    with pytest.raises(ValueError, match=r"4 of 6 training images have a caption.*'shapes-0-1' has none.*SkipImage"):
        shapes(BankCaptions(bank))


@pytest.mark.parametrize(
    ("missing", "caption", "outcome"),
    [
        (NoCaption(), lambda plain, i: [], "without a caption"),
        (OwnCaptions(), lambda plain, i: plain.splits.train.captions(i), "with the dataset's own captions"),
        (
            TemplateForMissing("a {class}"),
            lambda plain, i: [f"a {plain.class_names[plain.splits.train.label(i)]}"],
            "captioned by class",
        ),
    ],
)
def test_or_gets_what_is_configured_and_is_counted(bank, plain, capsys, missing, caption, outcome):
    data = shapes(BankCaptions(bank, missing))
    found = captions_of(data)
    assert found[0] == ["shapes-0-0 short", "shapes-0-0 rather long"]
    assert found[1] == caption(plain, 1) and found[4] == caption(plain, 4)
    assert (data.coverage["train"].covered, data.coverage["train"].images) == (4, 6)
    told = capsys.readouterr().out
    assert f"4 of 6 images have a caption in the bank, 2 have none ({outcome}), the first is 'shapes-0-1'" in told
    assert "held-out: 3 of 3 images have a caption in the bank\n" in told


def test_or_is_left_out_with_everything_that_belongs_to_it(bank, plain):
    data = shapes(BankCaptions(bank, SkipImage()))
    images, all_images = data.splits.train, plain.splits.train
    assert len(images) == 4
    for mine, theirs in enumerate((0, 2, 3, 5)):
        assert images.key(mine) == all_images.key(theirs) and images.label(mine) == all_images.label(theirs)
        assert torch.equal(images.image(mine), all_images.image(theirs))
        assert images.captions(mine)[0] == f"{images.key(mine)} short"
    assert sum(len(batch) for batch in data.train_dataloader()) == 4


class TwoSources:
    """Twelve images of a first source and four of a second, which the weights give four and twelve places."""

    def __init__(self, weights=(1, 3)):
        self.weights = weights

    def __len__(self):
        return 16

    def order(self, generator):
        return mixed((12, 4), self.weights, (None, None), generator)


def test_where_weights_show_what_is_kept_less_often_an_epoch_is_full_all_the_same(bank):
    kept = np.arange(12)  # the first source: eight of its twelve are left out of an order of the images
    banked = BankedImages(TwoSources(), [], CaptionBank(bank), kept, kept, SkipImage(), extend=False)
    order = banked.order(torch.Generator().manual_seed(0))
    assert len(order) == 12 and set(order.tolist()) <= set(range(12)) and len(set(order.tolist())) > 4
    assert torch.equal(order, banked.order(torch.Generator().manual_seed(0)))


def test_weights_that_leave_out_all_that_the_bank_has_are_refused(bank):
    kept = np.arange(12)
    banked = BankedImages(TwoSources((0, 1)), [], CaptionBank(bank), kept, kept, SkipImage(), extend=False)
    with pytest.raises(ValueError, match="captions for 12 of 16 images, all of them in sources whose weights"):
        banked.order(torch.Generator())


def test_a_bank_may_extend_the_dataset_s_own_captions(bank, plain):
    data = shapes(BankCaptions(bank, OwnCaptions(), extend=True), caption_policy=RandomCaption())
    own = captions_of(plain)
    assert captions_of(data)[0] == ["shapes-0-0 short", "shapes-0-0 rather long", *own[0]]
    assert captions_of(data)[1] == own[1]
    batch = next(iter(data.val_dataloader()))
    assert batch.caption[0] == f"{batch.key[0]} short"


def test_keys_are_matched_by_the_file_s_name_where_that_is_asked_for(tmp_path, plain):
    class Filed(ShapesDataModule):
        def load(self):
            splits = super().load()
            for images in (splits.train, splits.held_out):
                images.key = lambda i, images=images: f"folder/{images.first + i}.JPEG"
            return splits

    keys = [images.first + i for images in (plain.splits.train, plain.splits.held_out) for i in range(len(images))]
    build_bank([CaptionRow(str(key), [f"caption {key}"], "") for key in keys], tmp_path / "bank")
    data = Filed(16, num_train=6, num_val=3, batch_size=2, caption_bank=BankCaptions(tmp_path / "bank", stem=True))
    data.setup()
    assert captions_of(data)[2] == ["caption 2"] and data.splits.train.key(2) == "folder/2.JPEG"


def test_it_is_three_lines_of_yaml(bank):
    parser = ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(ImageDataModule, "data")
    config = parser.parse_string(
        f"""
        data:
          class_path: textok.datamodules.EmojiDataModule
          init_args:
            caption_bank:
              path: {bank}
              missing: TemplateForMissing
            caption_policy:
              class_path: FirstWords
              init_args: {{num_words: 25, policy: RandomCaption, drop: 0.1}}
        """
    )
    data = parser.instantiate_classes(parser.parse_string(parser.dump(config))).data
    data.setup()
    assert data.coverage["train"].covered == 0
    assert data.splits.train.captions(0) == [f"a photo of a {data.class_names[data.splits.train.label(0)]}"]
    assert data.caption_policy.num_words == 25 and isinstance(data.caption_policy.policy, RandomCaption)

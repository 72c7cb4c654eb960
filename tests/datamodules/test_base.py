import lightning.pytorch as pl
import pytest
import torch
from jsonargparse import ArgumentParser

from textok.datamodules import (
    Augmentation,
    CaptionedImages,
    EmojiDataModule,
    ImageDataModule,
    RandomCaption,
    ShapesDataModule,
    Splits,
)
from textok.types import Batch, to_uint8


class Plain(CaptionedImages):
    """Labels and captions as listed; the pictures are 10 × 12 noise."""

    def __init__(self, labels, captions=None):
        self.labels = labels
        self.texts = captions or [[f"picture {n}"] for n in range(len(labels))]

    def __len__(self):
        return len(self.labels)

    def image(self, index):
        return torch.randint(256, (3, 10, 12), generator=torch.Generator().manual_seed(index), dtype=torch.uint8)

    def captions(self, index):
        return self.texts[index]

    def label(self, index):
        return self.labels[index]

    def key(self, index):
        return f"plain-{index}"


class PlainData(ImageDataModule):
    def __init__(self, train, held_out, batch_size=2, num_classes=3, caption_policy=None, image_size=8):
        super().__init__(image_size, num_classes, batch_size, None, 0, 0, Augmentation(), caption_policy)
        self.given = Splits(train, held_out, ["a", "b", "c"])

    def load(self):
        return self.given


class Reads(pl.LightningModule):
    """Keeps the batches of each stage as the model sees them."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.batches = {"train": [], "val": [], "test": [], "predict": []}

    def training_step(self, batch, batch_idx):
        self.batches["train"].append(batch)
        return self.weight * 0

    def validation_step(self, batch, batch_idx):
        self.batches["val"].append(batch)

    def test_step(self, batch, batch_idx):
        self.batches["test"].append(batch)

    def predict_step(self, batch, batch_idx):
        self.batches["predict"].append(batch)

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


def test_a_model_gets_float_images_in_all_four_stages(tmp_path):
    data = PlainData(Plain([0, 1, 2, 0, 1]), Plain([2, 1, 0]))
    model = Reads()
    trainer = pl.Trainer(
        accelerator="cpu",
        max_epochs=1,
        default_root_dir=tmp_path,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
    )
    trainer.fit(model, data)
    trainer.test(model, data, verbose=False)
    trainer.predict(model, data)
    for stage, count in {"train": 2, "val": 2, "test": 2, "predict": 3}.items():
        batches = model.batches[stage]
        assert len(batches) == count
        for batch in batches:
            assert isinstance(batch, Batch) and batch.text is None and batch.latents is None
            assert batch.image.shape == (2, 3, 8, 8) and batch.image.dtype == torch.float32
            assert batch.image.min() >= -1 and batch.image.max() <= 1 and batch.image.std() > 0.1
            assert len(batch.key) == len(batch.caption) == 2 and batch.label.dtype == torch.int64
    assert torch.equal(model.batches["val"][1].valid, torch.tensor([True, False]))
    # Predict reads the training set, as it is.
    first = next(iter(data.predict_dataloader()))
    assert first.key == ["plain-0", "plain-1"] and first.image.dtype == torch.uint8
    assert torch.equal(to_uint8(model.batches["predict"][0].image), first.image)


def test_captions_of_a_class_are_the_held_out_ones_where_there_are_any():
    train = Plain([0, 1, 1], [["seen a"], ["seen b", "seen b two"], ["seen b"]])
    held_out = Plain([0, 0, 0], [["new a"], ["new a", "newer a"], [""]])
    data = PlainData(train, held_out)
    data.setup()
    assert data.class_captions() == [["new a"], ["seen b"], []]
    data = PlainData(train, held_out, caption_policy=RandomCaption())
    data.setup()
    assert data.class_captions() == [["new a", "newer a"], ["seen b", "seen b two"], []]


def test_bad_data_is_refused_with_a_remedy():
    some = Plain([0, 1])
    with pytest.raises(ValueError, match="training set is empty"):
        PlainData(Plain([]), some).setup()
    with pytest.raises(ValueError, match="held-out set is empty"):
        PlainData(some, Plain([])).setup()
    with pytest.raises(ValueError, match=r"num_classes is 5, but the data has 3.*num_classes to 3"):
        PlainData(some, some, num_classes=5).setup()
    data = PlainData(some, some, batch_size=3)
    data.setup()
    with pytest.raises(ValueError, match=r"batch_size 3 is more than the 2 images.*at most 2"):
        data.train_dataloader()
    assert len(data.val_dataloader()) == 1
    with pytest.raises(ValueError, match="batch_size must be positive, got 0"):
        PlainData(some, some, batch_size=0)
    with pytest.raises(ValueError, match="image_size must be positive, got -8"):
        PlainData(some, some, image_size=-8)
    with pytest.raises(RuntimeError, match="call setup"):
        _ = PlainData(some, some).class_names


@pytest.mark.parametrize("module", [EmojiDataModule, ShapesDataModule])
def test_configuration_parses_dumps_and_parses_again(module):
    parser = ArgumentParser()
    parser.add_subclass_arguments(ImageDataModule, "data")
    args = [
        f"--data=textok.datamodules.{module.__name__}",
        "--data.image_size=16",
        "--data.augmentation.min_crop=0.9",
        "--data.caption_policy=RandomCaption",
        "--data.caption_policy.drop=0.1",
    ]
    config = parser.parse_args(args)
    again = parser.parse_string(parser.dump(config))
    data = parser.instantiate_classes(again).data
    assert isinstance(data, module) and data.image_size == 16
    assert data.augmentation.min_crop == 0.9 and data.caption_policy.drop == 0.1
    assert again.data.init_args.num_classes == data.num_classes > 0

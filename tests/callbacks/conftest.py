"""A small real model and its data, to run the callbacks through a real Trainer."""

import lightning.pytorch as pl
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader

from textok.types import Batch, to_uint8

SIZE = 16


class Autoencoder(nn.Module):
    """A linear autoencoder whose reconstruction is brighter the shorter its caption."""

    def __init__(self):
        super().__init__()
        self.down = nn.Linear(3 * SIZE * SIZE, 4)
        self.up = nn.Linear(4, 3 * SIZE * SIZE)
        self.register_buffer("calls", torch.zeros((), dtype=torch.int64))

    def forward(self, images, captions):
        shift = images.new_tensor([0.5 / (1 + len(caption)) for caption in captions])
        if self.training:
            self.calls += 1
        return self.up(self.down(images.flatten(1))).view_as(images) + shift.view(-1, 1, 1, 1)


class TinyModule(pl.LightningModule):
    """Both protocols of measurement; a step every ``accumulate`` batches."""

    automatic_optimization = False

    def __init__(self, accumulate=1):
        super().__init__()
        torch.manual_seed(0)
        self.net = Autoencoder()
        self.ema = Autoencoder().requires_grad_(False).eval()
        self.ema.load_state_dict(self.net.state_dict())
        self.accumulate = accumulate

    @property
    def trained(self):
        return self.net

    def configure_optimizers(self):
        return torch.optim.SGD(self.net.parameters(), lr=0.1)

    def training_step(self, batch, batch_idx):
        loss = (self.net(batch.image, batch.caption) - batch.image).square().mean()
        self.manual_backward(loss)
        if (batch_idx + 1) % self.accumulate == 0:
            self.optimizers().step()
            self.optimizers().zero_grad()
        self.log("train/l2", loss.detach(), prog_bar=True)

    def reconstruct(self, images, captions, labels=None):
        return self.ema(images, captions)

    def validation_step(self, batch, batch_idx):
        reconstruction = self.reconstruct(batch.image, batch.caption, batch.label)
        return {
            "index": batch.index,
            "valid": batch.valid,
            "image": batch.image,
            "reconstruction": reconstruction,
        }

    test_step = validation_step

    def predict_step(self, batch, batch_idx):
        return {
            "key": batch.key,
            "valid": batch.valid,
            "latents": self.ema.down(batch.image.flatten(1)),
            "label": batch.label,
        }

    def generate(self, requests):
        torch.rand(7)  # a careless model: it draws from the global state
        generator = torch.Generator()
        noise = [torch.rand(3, SIZE, SIZE, generator=generator.manual_seed(r.seed + r.index)) for r in requests]
        return torch.stack(noise) * 2 - 1

    def flops_per_image(self):
        return 6.0 * 2 * 4 * 3 * SIZE * SIZE


class TinyData(pl.LightningDataModule):
    """Smooth random pictures; ``padding`` of the last rows of validation only fill up."""

    image_size, num_classes, class_names = SIZE, 3, ["disc", "square", "star"]

    def __init__(self, count=12, batch_size=4, padding=0):
        super().__init__()
        self.count, self.batch_size, self.padding = count, batch_size, padding

    def class_captions(self):
        return {0: ["a disc"], 1: ["a square"], 2: ["a star"]}

    def rows(self):
        generator = torch.Generator().manual_seed(1)
        small = torch.rand(self.count, 3, 4, 4, generator=generator) * 2 - 1
        images = nn.functional.interpolate(small, size=(SIZE, SIZE), mode="bilinear")
        return [(row, image) for row, image in enumerate(images)]

    def collate(self, rows):
        index = torch.tensor([row for row, _ in rows])
        return Batch(
            index=index,
            valid=index < self.count - self.padding,
            key=[f"picture-{row}" for row, _ in rows],
            image=to_uint8(torch.stack([image for _, image in rows])),
            caption=["a picture of " + "x" * (row % 5) for row, _ in rows],
            label=index % 3,
        )

    def train_dataloader(self):
        return DataLoader(self.rows(), batch_size=self.batch_size, collate_fn=self.collate)

    val_dataloader = test_dataloader = predict_dataloader = train_dataloader

    def on_after_batch_transfer(self, batch, dataloader_idx):
        batch.image = batch.image.float() / 127.5 - 1
        return batch


@pytest.fixture
def make_module():
    return TinyModule


@pytest.fixture
def make_data():
    return TinyData


@pytest.fixture
def make_trainer(tmp_path):
    def make(callbacks=(), **settings):
        settings = {
            "accelerator": "cpu",
            "max_steps": 3,
            "logger": False,
            "enable_checkpointing": False,
            "enable_progress_bar": False,
            "enable_model_summary": False,
            "num_sanity_val_steps": 0,
            "limit_val_batches": 0,
            "log_every_n_steps": 1,
        } | settings
        return pl.Trainer(default_root_dir=tmp_path, callbacks=list(callbacks), **settings)

    return make

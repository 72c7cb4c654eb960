"""Picture grids: what the model does, to look at."""

from __future__ import annotations

from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import Callback
from torch import Tensor

from textok.callbacks.drawing import DARK, GREY, draw_grid
from textok.callbacks.pictures import publish_picture, spread_rows
from textok.metrics import other_captions
from textok.types import Batch, Request, to_uint8


class ReconstructionGrid(Callback):
    """Draws held-out images, reconstructed with their caption, without one and with another image's.

    After each validation the grid is in ``pictures/reconstruction_step….png`` and ``pictures/reconstruction.png``, with
    both captions beneath. The images come from all over the validation set, the same ones every time.

    Args:
        num_images: Images in the grid.
    """

    def __init__(self, num_images: int = 8) -> None:
        if num_images < 1:
            raise ValueError(f"num_images must be positive, got {num_images}")
        self.num_images = num_images
        self._columns: list[tuple[list[Tensor], str, str | None]] = []

    def on_validation_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._columns = []

    def on_validation_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Batch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        if trainer.sanity_checking or dataloader_idx > 0:
            return
        if not isinstance(outputs, dict) or "reconstruction" not in outputs:
            raise ValueError(
                f"{type(pl_module).__name__}.validation_step returned no reconstruction: ReconstructionGrid belongs to "
                "the tokenizer's stage; remove it from trainer.callbacks"
            )
        rows = spread_rows(self.num_images, batch_idx, trainer.num_val_batches[0], len(batch))
        if not rows:
            return
        images, labels, valid = outputs["image"][rows], batch.label[rows], outputs["valid"].tolist()
        swapped = other_captions(batch.caption, valid)
        pictures = [images, outputs["reconstruction"][rows]]
        # On every rank, so that sharded weights can be gathered; rank 0 draws.
        with trainer.precision_plugin.forward_context():
            pictures.append(pl_module.reconstruct(images, [""] * len(rows), labels))
            pictures.append(pl_module.reconstruct(images, [swapped[row] or "" for row in rows], labels))
        if trainer.is_global_zero:
            columns = zip(*(to_uint8(group).cpu() for group in pictures))
            self._columns += [
                (list(column), batch.caption[row], swapped[row]) for row, column in zip(rows, columns) if valid[row]
            ]

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if not self._columns:
            return
        grid = draw_grid(
            list(zip(*(pictures for pictures, _, _ in self._columns))),
            row_labels=["original", "with its caption", "without a caption", "with another image's"],
            footers=[
                [(own or "(no caption)", 7, DARK), (f"other: {other}" if other else "", 4, GREY)]
                for _, own, other in self._columns
            ],
            title=f"Reconstructions of held-out images at step {trainer.global_step:,}",
        )
        captions = [{"own": own, "other": other or ""} for _, own, other in self._columns]
        publish_picture(trainer, "reconstruction", grid, {"captions": captions})
        self._columns = []


class SampleGrid(Callback):
    """Draws generated samples of some classes after each validation.

    The grid is in ``pictures/samples_step….png`` and ``pictures/samples.png``. The requests are the same every time,
    and training's random state is not touched.

    Args:
        num_classes: Rows; the classes are spread evenly over those of the data.
        per_class: Samples of each class.
        seed: Seed of the samples' noise and captions.
    """

    def __init__(self, num_classes: int = 8, per_class: int = 4, seed: int = 0) -> None:
        if num_classes < 1 or per_class < 1:
            raise ValueError(f"num_classes and per_class must be positive, got {num_classes} and {per_class}")
        self.num_classes = num_classes
        self.per_class = per_class
        self.seed = seed

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.sanity_checking:
            return
        available = max(1, trainer.datamodule.num_classes)
        count = min(self.num_classes, available)
        labels = [row * available // count for row in range(count)]
        requests = [
            Request(index=number, label=label, seed=self.seed)
            for number, label in enumerate(label for label in labels for _ in range(self.per_class))
        ]
        devices = [pl_module.device] if pl_module.device.type == "cuda" else []
        # On every rank, so that sharded weights can be gathered (the others would only wait); rank 0 draws.
        with torch.random.fork_rng(devices), trainer.precision_plugin.forward_context():
            pictures = to_uint8(pl_module.generate(requests)).cpu()
        if not trainer.is_global_zero:
            return
        names = trainer.datamodule.class_names
        rows = [names[label] if names else "" for label in labels]
        grid = draw_grid(
            [list(row) for row in pictures.split(self.per_class)],
            row_labels=rows,
            title=f"Samples at step {trainer.global_step:,}",
        )
        publish_picture(trainer, "samples", grid, {"rows": rows})

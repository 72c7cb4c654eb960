"""Which held-out images a picture shows, and where a run keeps its pictures."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
from lightning.pytorch.loggers import TensorBoardLogger, WandbLogger
from PIL import Image

from textok.storage import write_atomic, write_json


def publish_picture(trainer: pl.Trainer, name: str, picture: Image.Image, words: dict[str, Any]) -> Path:
    """Save a picture of this step in the run's ``pictures`` folder and show it in the loggers that take pictures.

    ``<name>_step00001234.png`` stays; ``<name>.png`` is always the latest, and ``<name>.json`` beside it holds in full
    the words of its picture, for a report and for whoever cannot see it. Only rank 0 calls this.

    Args:
        trainer: The run's trainer.
        name: What the picture is of.
        picture: The picture.
        words: What is written in it, and what did not fit.

    Returns:
        The path that stays.
    """
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG")
    folder = Path(trainer.default_root_dir) / "pictures"
    path = folder / f"{name}_step{trainer.global_step:08d}.png"
    for target in (path, folder / f"{name}.png"):
        write_atomic(target, buffer.getvalue())
    write_json(folder / f"{name}.json", {"step": trainer.global_step, **words})
    for logger in trainer.loggers:
        if isinstance(logger, TensorBoardLogger):
            logger.experiment.add_image(name, np.array(picture), trainer.global_step, dataformats="HWC")
        elif isinstance(logger, WandbLogger):
            logger.log_image(name, [picture], step=trainer.global_step)
    return path


def spread_rows(num_images: int, batch_idx: int, num_batches: int | float, batch_size: int) -> list[int]:
    """The rows of a batch for a grid of images from all over a set: image i is from batch ⌊i · batches / images⌋.

    Args:
        num_images: Images of the whole grid.
        batch_idx: Number of the batch.
        num_batches: Batches of the set; where it is not known (infinite), the grid takes the set's first images.
        batch_size: Images of this batch.
    """
    if num_batches == float("inf"):
        first = batch_idx * batch_size
        return list(range(max(0, min(batch_size, num_images - first))))
    count = sum(i * int(num_batches) // num_images == batch_idx for i in range(num_images))
    return sorted({i * batch_size // count for i in range(count)})

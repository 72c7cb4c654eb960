"""Reconstruction quality, and how much of it the caption brings."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, Literal

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import Callback

from textok.callbacks.captions import other_captions
from textok.metrics import PSNR, SSIM, PairedMean
from textok.types import Batch


class ReconstructionMetrics(Callback):
    """Measures reconstructions made with their own caption, with none, and with another image's.

    Logs ``val/psnr`` and ``val/ssim`` for the own caption, ``val/psnr_empty`` … without one, ``val/psnr_other`` … with
    another image's (``test/…`` in a test). A model that reads no text scores the same in all three. The own caption's
    reconstruction is the one that ``validation_step`` returns; the others cost one more pass each. "Another image" is
    one half a batch away with a different caption (see ``other_captions``), so those numbers, unlike the first two,
    move a little with the batch size; an image that has no other is left out of them.

    Args:
        captions: Which captions to measure.
        metrics: What to measure; PSNR and SSIM when None.
    """

    def __init__(
        self,
        captions: Sequence[Literal["own", "empty", "other"]] = ("own", "empty", "other"),
        metrics: list[PairedMean] | None = None,
    ) -> None:
        unknown = set(captions) - {"own", "empty", "other"}
        if unknown:
            raise ValueError(f"captions must be among own, empty, other; got {sorted(unknown)}")
        self.captions = tuple(captions)
        self._metrics = {kind: copy.deepcopy(metrics or [PSNR(), SSIM()]) for kind in self.captions}
        self._spare: list[str] = []

    def _reset(self) -> None:
        self._spare = []
        for metric in (metric for group in self._metrics.values() for metric in group):
            metric.reset()

    def _update(self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Batch) -> None:
        if not isinstance(outputs, dict) or "reconstruction" not in outputs:
            raise ValueError(
                f"{type(pl_module).__name__}.validation_step returned no reconstruction: ReconstructionMetrics belongs "
                "to the tokenizer's stage; remove it from trainer.callbacks"
            )
        valid, rows = outputs["valid"], outputs["valid"].tolist()
        for kind in self.captions:
            scored, reconstruction = valid, outputs["reconstruction"]
            if kind != "own":
                swapped = (
                    [""] * len(rows) if kind == "empty" else other_captions(batch.caption, rows, spare=self._spare)
                )
                scored = valid & torch.tensor([caption is not None for caption in swapped], device=valid.device)
                # Every rank makes the same passes, whether or not its images have another caption.
                with trainer.precision_plugin.forward_context():
                    reconstruction = pl_module.reconstruct(
                        outputs["image"], [caption or "" for caption in swapped], batch.label
                    )
            for metric in self._metrics[kind]:
                metric.update(outputs["image"], reconstruction, valid=scored)
        self._spare = [caption for caption, is_valid in zip(batch.caption, rows) if is_valid] or self._spare

    def _log(self, pl_module: pl.LightningModule, prefix: str) -> None:
        for kind, metrics in self._metrics.items():
            ending = "" if kind == "own" else f"_{kind}"
            for metric in metrics:
                for name, value in metric.compute().items():
                    # The value is the same on all ranks already; sync_dist spares Lightning's warning about that.
                    # The loggers get it from ResultsWriter, against the number of steps.
                    pl_module.log(f"{prefix}/{name}{ending}", value, sync_dist=True, logger=False)

    def on_validation_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._reset()

    def on_validation_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Batch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        self._update(trainer, pl_module, outputs, batch)

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._log(pl_module, "val")

    on_test_epoch_start = on_validation_epoch_start
    on_test_batch_end = on_validation_batch_end

    def on_test_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._log(pl_module, "test")

"""Quality of reconstructions during validation and test."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import lightning.pytorch as pl
from lightning.pytorch.callbacks import Callback
from torch import Tensor

from textok.metrics import CaptionedReconstruction, PairedMean
from textok.types import Batch


class ReconstructionMetrics(Callback):
    """Measures reconstructions made with their own caption, with none, and with another image's.

    Logs ``val/psnr`` and ``val/ssim`` for the own caption, ``val/psnr_empty`` … without one, ``val/psnr_other`` … with
    another image's (``test/…`` in a test). A model that reads no text scores the same in all three. The own caption's
    reconstruction is the one that ``validation_step`` returns; the others cost one more pass each. What "another image"
    is, ``metrics.CaptionedReconstruction`` tells.

    Args:
        captions: Which captions to measure.
        metrics: What to measure; PSNR and SSIM when None.
    """

    def __init__(
        self,
        captions: Sequence[Literal["own", "empty", "other"]] = ("own", "empty", "other"),
        metrics: list[PairedMean] | None = None,
    ) -> None:
        self._metrics = CaptionedReconstruction(captions, metrics)

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        self._metrics.load()  # at the start: weights that are missing shall not end the first epoch

    def _log(self, pl_module: pl.LightningModule, prefix: str) -> None:
        for name, value in self._metrics.compute().items():
            # The value is the same on all ranks already; sync_dist spares Lightning's warning about that.
            # The loggers get it from ResultsWriter, against the number of steps.
            pl_module.log(f"{prefix}/{name}", value, sync_dist=True, logger=False)

    def on_validation_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._metrics.reset()

    def on_validation_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Batch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        if not isinstance(outputs, dict) or "reconstruction" not in outputs:
            raise ValueError(
                f"{type(pl_module).__name__}.validation_step returned no reconstruction: ReconstructionMetrics belongs "
                "to the tokenizer's stage; remove it from trainer.callbacks"
            )

        def reconstruct(captions: list[str]) -> Tensor:
            with trainer.precision_plugin.forward_context():
                return pl_module.reconstruct(outputs["image"], captions, batch.label)

        self._metrics.update(
            reconstruct, outputs["image"], batch.caption, outputs["index"], outputs["valid"], outputs["reconstruction"]
        )

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._log(pl_module, "val")

    on_test_epoch_start = on_validation_epoch_start
    on_test_batch_end = on_validation_batch_end

    def on_test_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._log(pl_module, "test")

"""Quality of reconstructions during validation and test."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import lightning.pytorch as pl
from torch import Tensor

from textok.callbacks.measurement import MeasuringCallback
from textok.metrics import (
    CaptionedReconstruction,
    CLIPScore,
    DistributionMetrics,
    PairedMean,
    ReferenceSource,
)
from textok.types import Batch


class ReconstructionMetrics(MeasuringCallback):
    """Measures reconstructions made with their own caption, with none, and with another image's.

    Logs ``val/psnr``, ``val/rfid`` … for the own caption, ``val/psnr_empty`` … without one, ``val/psnr_other`` … with
    another image's (``test/…`` in a test). A model that reads no text scores the same in all three. The own caption's
    reconstruction is the one that ``validation_step`` returns; the others cost one more pass each. What "another image"
    is, ``metrics.CaptionedReconstruction`` tells.

    Args:
        captions: Which captions to measure.
        metrics: What to measure of each original and its reconstruction; PSNR and SSIM when null.
        distances: Distances of all reconstructions from the originals, in the features of a network; null leaves them
            out.
        clip_score: How well a reconstruction fits its caption; null leaves it out.
        every_n_steps: Steps between two measurements, taken at the first validation after them; null measures at each
            validation.
        reference: The originals of the distances; the held-out set in the model's own crop when null.
    """

    def __init__(
        self,
        captions: Sequence[Literal["own", "empty", "other"]] = ("own", "empty", "other"),
        metrics: list[PairedMean] | None = None,
        distances: DistributionMetrics | None = None,
        clip_score: CLIPScore | None = None,
        every_n_steps: int | None = None,
        reference: ReferenceSource | None = None,
    ) -> None:
        metrics = CaptionedReconstruction(captions, metrics, distances, clip_score)
        super().__init__(metrics, distances, "held_out", every_n_steps, reference)
        self._due = False

    def on_validation_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.metrics.reset()
        self._due = self.is_due(trainer)
        if self._due:
            self.find_reference(trainer)

    def on_validation_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Batch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        if not self._due:
            return
        if not isinstance(outputs, dict) or "reconstruction" not in outputs:
            raise ValueError(
                f"{type(pl_module).__name__}.validation_step returned no reconstruction: ReconstructionMetrics belongs "
                "to the tokenizer's stage; remove it from trainer.callbacks"
            )

        def reconstruct(captions: list[str]) -> Tensor:
            with trainer.precision_plugin.forward_context():
                return pl_module.reconstruct(outputs["image"], captions, batch.label)

        self.metrics.update(
            reconstruct, outputs["image"], batch.caption, outputs["index"], outputs["valid"], outputs["reconstruction"]
        )

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if self._due:
            self.log_metrics(trainer, pl_module)
        else:
            self.skip(trainer)

    on_test_epoch_start = on_validation_epoch_start
    on_test_batch_end = on_validation_batch_end
    on_test_epoch_end = on_validation_epoch_end

"""A checkpoint of the step that a run has reached, whatever the schedule of checkpoints says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.callbacks import Callback

from textok.callbacks.background import check_checkpoints


class FinalCheckpoint(Callback):
    """Saves the last step of a fit, which need not be one of those that checkpoints are due at.

    Whatever is being written, the fit ends when it is on the disk, and at the next step if the disk does not take it.
    A run that goes on from a checkpoint does not save that step again, from the middle of the next one.
    """

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        # Lightning keeps this to itself and in no checkpoint: behind the first of a step's micro-batches the step is
        # still the one before, which would be due again and written with half a step's data gone.
        for checkpoints in trainer.checkpoint_callbacks:
            checkpoints._last_global_step_saved = trainer.global_step

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        # The first validation forks workers that stay, and with them what is in memory and open at that moment.
        check_checkpoints(trainer, wait=trainer.enable_validation and trainer.val_dataloaders is None)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.checkpoint_callback is not None and trainer.global_step >= trainer.max_steps:
            save_step(trainer)
        check_checkpoints(trainer, wait=True)


def save_step(trainer: pl.Trainer) -> Path:
    """Save the step that is done, if its checkpoint is not there yet; every rank has to call it.

    Returns:
        The checkpoint, which is on the disk.
    """
    checkpoints = trainer.checkpoint_callback
    file = Path(checkpoints.dirpath) / f"step{trainer.global_step:08d}.ckpt"

    def is_there() -> bool:
        check_checkpoints(trainer, wait=True)
        return trainer.strategy.broadcast(file.exists())

    if is_there():
        return file
    # Its own way to save, which Lightning does not offer in public, so that it deletes this one in its turn.
    candidates = checkpoints._monitor_candidates(trainer)
    if checkpoints.monitor in (None, *candidates):
        checkpoints._save_topk_checkpoint(trainer, candidates)
    # Past it where it keeps the best by a metric, of which this step need not be one.
    if not is_there():
        trainer.save_checkpoint(file)
        is_there()  # no process goes on, and perhaps ends the job, before the first one has it on the disk
    return file

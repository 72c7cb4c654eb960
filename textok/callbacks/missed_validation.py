"""The validation that a run was to do when it was killed."""

from __future__ import annotations

import lightning.pytorch as pl
from lightning.pytorch.callbacks import Callback

from textok.callbacks.curves import CurveLogger, read_curves


class MissedValidation(Callback):
    """Validates before the first step where the checkpoint was written just before a validation that has no curve.

    A checkpoint is written at the end of a batch and a validation comes behind it; Lightning takes it for done when a
    run goes on, and the curves would have a gap.
    """

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        # Lightning has no public way to validate inside of a fit; these lines are those of its own training loop.
        loop = trainer.fit_loop.epoch_loop
        batches = loop.batch_progress.total
        # A batch that is processed but not completed: the checkpoint was written in its last hook.
        if batches.completed == batches.processed or not trainer.enable_validation:
            return
        due = trainer.check_val_every_n_epoch is None and batches.processed % trainer.val_check_batch == 0
        if due and not trainer.strategy.broadcast(self._is_recorded(trainer)):
            loop.val_loop.restarting = False
            trainer.validating = True
            loop.val_loop.run()
            trainer.training = True

    @staticmethod
    def _is_recorded(trainer: pl.Trainer) -> bool:
        """Whether the curves have a validation at this step; they lose what is later when the run goes on."""
        files = [logger.file for logger in trainer.loggers if isinstance(logger, CurveLogger)]
        rows = [row for file in files for row in read_curves(file) if row["step"] == str(trainer.global_step)]
        return any(value for row in rows for name, value in row.items() if name.startswith("val/"))

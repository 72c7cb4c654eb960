"""Watches a run for updates that are not finite, and for a discriminator that has won or given up."""

from __future__ import annotations

import math
import warnings
from collections import deque
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.callbacks import Callback

from textok.callbacks.background import check_checkpoints
from textok.callbacks.passed_over import PassedOver, set_aside
from textok.types import EXIT_DIVERGED, Batch, RunEnded


class Watchdog(Callback):
    """Ends a run whose updates are not finite several times in a row, and lets the next start go past their batches.

    The module skips each such update by itself and counts it (``train/skipped_steps``); single ones do no harm. After
    ``patience`` in a row the run ends with exit code 76. The next start goes on from the last checkpoint before them,
    at the first batch behind them: what lies between the two is recorded in ``passed_over.json`` of the run folder,
    so that every later start meets the same batches at the same steps. Checkpoints of after the first skipped update
    are set aside (``….ckpt.diverged``).

    It also warns when the discriminator's accuracy says that it has won or learns nothing.

    Args:
        patience: Skipped updates in a row that end the run.
        window: Logged steps over which the discriminator is judged.
        won: Mean accuracy from which the discriminator has won: the pair learns little from it.
        lost: Distance of the mean accuracy from ½ up to which it tells nothing apart.
    """

    def __init__(self, patience: int = 10, window: int = 20, won: float = 0.99, lost: float = 0.01) -> None:
        if patience < 1 or window < 1:
            raise ValueError(f"patience and window must be at least 1, got {patience} and {window}")
        self.patience = patience
        self.won, self.lost = won, lost
        self._accuracies: deque[float] = deque(maxlen=window)
        self._gaps: deque[float] = deque(maxlen=window)
        self._warned: str | None = None
        self._passed = PassedOver()
        self._step = 0

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if not hasattr(pl_module, "skipped_steps"):
            raise ValueError(f"Watchdog needs a module that counts skipped_steps; {type(pl_module).__name__} does not")

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._step = trainer.global_step
        self._passed.read(Path(trainer.default_root_dir))
        self._pass_over(trainer)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Batch, batch_idx: int
    ) -> None:
        if trainer.global_step == self._step:
            return
        self._step = trainer.global_step
        self._pass_over(trainer)
        # To read the count is to wait for the device, so it is read at multiples of ``patience`` only. The run then
        # ends up to as many steps late, all of which were skipped: they cost time and move nothing.
        if self._step % self.patience == 0:
            in_a_row = int(pl_module.skipped_steps[0])
            if in_a_row >= self.patience:
                self._end(trainer, pl_module, in_a_row, batch)
        if self._step % trainer.log_every_n_steps == 0:
            self._judge_discriminator(trainer)

    def _pass_over(self, trainer: pl.Trainer) -> None:
        """Jump over the batches that are recorded for this step."""
        batches = self._passed.take(self._step)
        if batches:
            trainer.train_dataloader.skip(batches)

    def _end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, in_a_row: int, batch: Batch) -> None:
        before = self._step - in_a_row
        try:  # what is being written is among the files to set aside
            check_checkpoints(trainer, wait=True)
        except OSError as error:
            warnings.warn(str(error), stacklevel=2)  # the run ends by the worse of its two troubles
        folder = getattr(trainer.checkpoint_callback, "dirpath", None)
        good = 0
        if folder is not None:
            # The first rank renames and writes; all have seen the same files before.
            good = trainer.strategy.broadcast(set_aside(Path(folder), before) if trainer.is_global_zero else 0)
            # The files first: killed between the two, the run meets the same batches and comes here again.
            if trainer.is_global_zero:
                batches = (self._step - good) * pl_module.accumulate
                self._passed.add(good, batches, Path(trainer.default_root_dir))
        names = [name for name, value in pl_module.last_step.items() if not math.isfinite(float(value))]
        raise RunEnded(
            f"steps {before + 1} to {self._step}: {in_a_row} updates in a row were not finite and were skipped, the "
            f"last for {', '.join(names) or 'a term of another process'} (first picture {batch.key[0]!r}). The same "
            f"command goes on from step {good} past the batches until here. If that does not help, lower the learning "
            "rate, clip gradients, or start the discriminator later",
            EXIT_DIVERGED,
        )

    def _judge_discriminator(self, trainer: pl.Trainer) -> None:
        """Warn once when the discriminator wins or learns nothing, and again if that comes back."""
        logged = trainer.callback_metrics
        if "train/discriminator_accuracy" not in logged:
            return
        accuracy, gap = float(logged["train/discriminator_accuracy"]), float(logged["train/logit_gap"])
        if not math.isfinite(gap):
            return
        self._accuracies.append(accuracy)
        self._gaps.append(gap)
        if len(self._accuracies) < self._accuracies.maxlen:
            return
        accuracy = sum(self._accuracies) / len(self._accuracies)
        state = "won" if accuracy >= self.won else "lost" if abs(accuracy - 0.5) <= self.lost else None
        if state and state != self._warned and trainer.is_global_zero:
            gap = sum(self._gaps) / len(self._gaps)
            remedy = {
                "won": "it has won, and the pair learns little from it. Raise the weight of r1, or lower its learning "
                "rate",
                "lost": "it tells nothing apart, and its gradients are noise. Lower the weight of r1, raise its "
                "learning rate, or start it later",
            }[state]
            warnings.warn(
                f"step {self._step}: the discriminator's accuracy is {accuracy:.3f} over the last "
                f"{len(self._gaps)} logged steps, its logits lie {gap:.3g} apart: {remedy}",
                stacklevel=2,
            )
        self._warned = state

    def state_dict(self) -> dict[str, Any]:
        return {"passed_over": self._passed.taken}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._passed.taken = state_dict["passed_over"]

"""The progress of a run in steps, with the time left."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.callbacks import ProgressBar
from rich.console import Console

from textok.callbacks.display import Display, open_display
from textok.callbacks.stopwatch import Stopwatch


class StepProgress(ProgressBar):
    """Shows steps done of all, images a second, a few values, the time spent and the time left.

    A live bar on a terminal, a line after each tenth elsewhere. The time left follows the speed of the last steps, plus
    the share that validation and checkpoints have taken so far. It replaces Lightning's own bar, which counts batches.

    Args:
        title: What is being trained.
        metrics: Names of logged values to show; those that were logged for the progress bar when empty.
    """

    #: Steps over which the speed is taken.
    WINDOW = 50

    def __init__(self, title: str = "training", metrics: Sequence[str] = ()) -> None:
        super().__init__()
        self.title = title
        self.metrics = tuple(metrics)
        self.console: Console | None = None
        self._enabled = True
        self._display: Display | None = None
        self._clock: Stopwatch | None = None
        #: (unpaused seconds, steps, images) after each of the last steps.
        self._history: deque[tuple[float, int, int]] = deque(maxlen=self.WINDOW + 1)
        self._step = self._first_step = self._images = self._batches = 0

    def disable(self) -> None:
        self._enabled = False

    def enable(self) -> None:
        self._enabled = True

    def print(self, *args: Any, **kwargs: Any) -> None:
        """Print above the bar."""
        if self.console is None:
            super().print(*args, **kwargs)
        else:
            self.console.print(*args, **kwargs)

    def _open(self, title: str, total: int | float, unit: str, done: int = 0) -> None:
        if not self._enabled:
            return
        self._close()
        if self.console is None:
            # Made here: a console holds locks and cannot be copied with the callback.
            self.console = Console()
        known = 0 < total < float("inf")
        self._display = open_display(self.console, title, int(total) if known else None, unit, done)

    def _close(self) -> None:
        if self._display is not None:
            self._display.stop()
            self._display = None

    # ---------------------------------------------------------------- training

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        total = trainer.max_steps if trainer.max_steps > 0 else trainer.estimated_stepping_batches
        self._open(self.title, total, "steps", trainer.global_step)
        self._step = self._first_step = trainer.global_step
        self._clock, self._images = None, 0
        self._history.clear()

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        if self._clock is not None:
            self._clock.resume()

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self._images += len(batch) * trainer.world_size
        if self._display is None or trainer.global_step == self._step:
            return
        self._step = trainer.global_step
        if self._clock is None:
            # After the first step, which warms up.
            self._clock, self._first_step = Stopwatch(), self._step
        self._history.append((self._clock.seconds, self._step, self._images))
        if self._display.is_due(self._step):
            self._display.update(self._step, self._seconds_left(), self._note(trainer))

    def _seconds_left(self) -> float | None:
        (start, first, _), (end, last, _) = self._history[0], self._history[-1]
        if first == last or not self._display.total:
            return None
        pauses = self._clock.paused_seconds / (last - self._first_step)
        return (self._display.total - last) * ((end - start) / (last - first) + pauses)

    def _note(self, trainer: pl.Trainer) -> str:
        (start, _, before), (end, _, now) = self._history[0], self._history[-1]
        parts = [f"{(now - before) / (end - start):,.0f} images/s"] if end > start else []
        shown = trainer.callback_metrics if self.metrics else trainer.progress_bar_metrics
        for name in self.metrics or shown:
            if name in shown:
                parts.append(f"{name.removeprefix('train/')} {float(shown[name]):.4g}")
        return ", ".join(parts)

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        if self._clock is not None:
            self._clock.pause()  # until the next batch

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._close()

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        self._close()

    # ---------------------------------------------------------------- validation, test, prediction

    def _start_batches(self, trainer: pl.Trainer, what: str, batches: Sequence[int | float]) -> None:
        self._batches = 0
        if trainer.state.fn == "fit":
            if self._clock is not None:
                self._clock.pause()
        else:
            self._open(f"{self.title}: {what}", sum(batches), "batches")
            self._clock = Stopwatch()

    def _count_batch(self, trainer: pl.Trainer) -> None:
        self._batches += 1
        if self._display is None:
            return
        if trainer.state.fn == "fit":
            self._display.status(f"validating: {self._batches}/{sum(trainer.num_val_batches)} batches")
        elif self._display.is_due(self._batches):
            total = self._display.total
            left = self._clock.seconds / self._batches * (total - self._batches) if total else None
            self._display.update(self._batches, left, "")

    def _end_batches(self, trainer: pl.Trainer) -> None:
        if trainer.state.fn != "fit":
            self._close()
        elif self._display is not None:
            self._display.status("")

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._start_batches(trainer, "validation", trainer.num_val_batches)

    def on_validation_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        self._count_batch(trainer)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._end_batches(trainer)

    def on_test_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._start_batches(trainer, "test", trainer.num_test_batches)

    def on_test_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        self._count_batch(trainer)

    def on_test_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._end_batches(trainer)

    def on_predict_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._start_batches(trainer, "prediction", trainer.num_predict_batches)

    def on_predict_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        self._count_batch(trainer)

    def on_predict_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._end_batches(trainer)

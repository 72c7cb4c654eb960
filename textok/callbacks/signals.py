"""Signals end a run at a whole step, with a checkpoint."""

from __future__ import annotations

import os
import signal
import threading
from types import FrameType
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.callbacks import Callback

from textok.callbacks.final_checkpoint import save_step
from textok.types import EXIT_INTERRUPTED, EXIT_REQUEUE, RunEnded

SIGNALS = (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)


class StopOnSignal(Callback):
    """SIGTERM, SIGUSR1 and Ctrl-C: the step ends, a checkpoint is written, the run ends; the same command goes on.

    The exit code is 75 after SIGTERM and SIGUSR1, for a batch script to requeue on, and 130 after Ctrl-C. A second
    Ctrl-C does not wait. It stands in for Lightning's handlers, which save inside of a step, from the first step to
    the end of the fit; before it there is nothing to save.

    Args:
        every: Steps between two questions to all processes whether one of them got a signal.
    """

    def __init__(self, every: int = 10) -> None:
        self.every = every
        self._received: signal.Signals | None = None
        self._pid = 0
        self._step = 0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._received, self._pid, self._step = None, os.getpid(), trainer.global_step
        # Lightning has noted the handlers of before the fit by now, and puts them back at its end.
        if threading.current_thread() is threading.main_thread():  # Python allows it to no other
            for number in SIGNALS:
                signal.signal(number, self._handle)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if os.getpid() != self._pid:
            return  # a worker of a loader, which inherits this: its loader ends it
        again = self._received is not None
        self._received = signal.Signals(number)
        if again and number == signal.SIGINT:
            raise RunEnded("interrupted twice; the same command goes on from the last checkpoint", EXIT_INTERRUPTED)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if trainer.global_step == self._step:
            return  # in the middle of a step of several batches
        self._step = trainer.global_step
        number = self._agreed(trainer)
        if number is None or self._step >= trainer.max_steps:
            return
        raise RunEnded(
            f"{signal.Signals(number).name} after step {self._step}: saved {save_step(trainer)}; the same command "
            "goes on from there",
            EXIT_INTERRUPTED if number == signal.SIGINT else EXIT_REQUEUE,
        )

    def _agreed(self, trainer: pl.Trainer) -> int | None:
        """The signal that any process got, the same answer on all."""
        if trainer.world_size == 1:
            return self._received
        # A question to all is waited for, and a second or ten does not matter to a signal: not at every step.
        if self._step % self.every:
            return None
        strategy = trainer.strategy
        for number in SIGNALS:
            if strategy.reduce_boolean_decision(self._received == number, all=False):
                return number
        return None

"""Checkpoints that are written while training goes on: a step waits for the copy of the weights, not for the disk."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
from torch import Tensor

from textok.callbacks.checkpoint import AtomicCheckpointIO


class BackgroundCheckpointIO(AtomicCheckpointIO):
    """Copies a checkpoint into main memory and writes the copy from a thread.

    One copy at a time: a save first waits for the one before it, and fails if that one did. What shall be removed is
    removed behind what is being written, and not if that failed, so there are never fewer complete checkpoints than
    with ``AtomicCheckpointIO``. ``FinalCheckpoint`` tells at the next step of one that failed, and waits at the end.

    Lightning's ``AsyncCheckpointIO`` copies on the device, removes the old checkpoint while the new one is being
    written, and tells of a failure when the next one is saved (lightning/pytorch/plugins/io/async_plugin.py, 2.6).
    """

    def __init__(self) -> None:
        self._thread: ThreadPoolExecutor | None = None
        self._pending: list[Future] = []

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        """Copy a checkpoint and begin to write it.

        Raises:
            OSError: If the disk did not take the one before it; those before that are intact.
        """
        self.wait()
        self._begin(super().save_checkpoint, in_main_memory(checkpoint), path, storage_options)

    def remove_checkpoint(self, path: str | Path) -> None:
        """Remove a checkpoint, once what is being written is complete."""
        if self._pending:
            self._begin(self._remove_behind, path, list(self._pending))
        else:
            super().remove_checkpoint(path)

    def load_checkpoint(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        self.wait()
        return super().load_checkpoint(*args, **kwargs)

    def wait(self) -> None:
        """Wait until everything is on the disk.

        Raises:
            OSError: If the disk did not take it.
        """
        pending, self._pending = self._pending, []
        for each in pending:
            each.result()

    def check(self) -> None:
        """Raise what has failed so far, without waiting."""
        if any(each.done() and each.exception() is not None for each in self._pending):
            self.wait()

    def teardown(self) -> None:
        """End the thread when everything is on the disk.

        A failure nobody has been told of is warned of: it must not cover the error that ends a run.
        """
        try:
            self.wait()
        except OSError as error:
            warnings.warn(str(error), stacklevel=2)
        if self._thread is not None:
            self._thread.shutdown(wait=True)
            self._thread = None

    def _begin(self, work: Callable[..., None], *args: Any) -> None:
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, "checkpoint")
        self._pending.append(self._thread.submit(work, *args))

    def _remove_behind(self, path: str | Path, before: list[Future]) -> None:
        # Behind them in the queue of one thread: they have ended.
        if all(each.exception() is None for each in before):
            super().remove_checkpoint(path)


def check_checkpoints(trainer: pl.Trainer, wait: bool = False) -> None:
    """Raise what has gone wrong with the checkpoints of a trainer that are being written.

    Args:
        trainer: The trainer.
        wait: Until they are on the disk.

    Raises:
        OSError: If the disk did not take one.
    """
    io = trainer.strategy.checkpoint_io
    if isinstance(io, BackgroundCheckpointIO):
        (io.wait if wait else io.check)()


def in_main_memory(value: Any, copies: dict[tuple, Tensor] | None = None) -> Any:
    """A copy of nested dictionaries, lists and tuples whose tensors lie in main memory and are nobody else's.

    Args:
        value: What is to be copied.
        copies: Copies made so far by where the tensor's numbers lie: tied weights stay tied.
    """
    copies = {} if copies is None else copies
    if isinstance(value, Tensor):
        place = (value.device, value.data_ptr(), value.dtype, value.shape, value.stride())
        if place not in copies:
            copies[place] = value.detach().to("cpu", copy=True)
        return copies[place]
    if isinstance(value, dict):
        copied = copy.copy(value)  # keeps its type, and what a state_dict has beside its items
        for key, each in value.items():
            copied[key] = in_main_memory(each, copies)
        return copied
    if isinstance(value, (list, tuple)):
        return type(value)(in_main_memory(each, copies) for each in value)
    return copy.deepcopy(value)

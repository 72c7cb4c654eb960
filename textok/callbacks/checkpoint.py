"""Checkpoint files that are never half written and never carry code."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.plugins.io import TorchCheckpointIO

from textok.storage import atomic_path, is_sharded, read_sharded


class AtomicCheckpointIO(TorchCheckpointIO):
    """Saves to a temporary name, flushes, renames; loads tensors and plain values only.

    Addresses with a scheme (``s3://…``) are written as Lightning does: object stores replace a file as a whole anyway.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        """Write a checkpoint, straight to the disk instead of through a second copy in memory.

        Raises:
            OSError: If the disk does not take it; the checkpoints before it are intact.
        """
        if "://" in str(path) or storage_options is not None:
            super().save_checkpoint(checkpoint, path, storage_options)
            return
        try:
            with atomic_path(path) as temporary:
                torch.save(checkpoint, temporary)
        except (OSError, RuntimeError) as error:
            # torch's writer tells of a full disk as a RuntimeError about positions in its stream.
            if isinstance(error, RuntimeError) and "inline_container" not in str(error):
                raise
            raise OSError(
                f"checkpoint {path} could not be written, those before it are intact: is the disk full, or a quota "
                f"reached? Make room and start the same command again ({error})"
            ) from error

    def load_checkpoint(
        self,
        path: str | Path,
        map_location: Callable | None = lambda storage, loc: storage,
        weights_only: bool | None = None,
    ) -> dict[str, Any]:
        """Read a checkpoint, always with ``weights_only=True``: nothing stored in it is executed.

        Raises:
            ValueError: If the file holds anything but tensors and plain values.
        """
        try:
            if is_sharded(path):
                return read_sharded(path)
            return super().load_checkpoint(path, map_location=map_location, weights_only=True)
        except pickle.UnpicklingError as error:
            raise ValueError(
                f"{path} is refused: it holds more than tensors and plain values, or is no checkpoint. {error}"
            ) from error

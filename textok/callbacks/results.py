"""The numbers of a run in one file."""

from __future__ import annotations

import json
import math
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.callbacks import Callback

from textok.callbacks.measurement import MeasuringCallback
from textok.storage import write_json
from textok.types import Batch


class ResultsWriter(Callback):
    """Keeps ``metrics.json`` in the run folder up to date.

    It also hands the numbers of each validation to the loggers, against the number of steps.
    Written after each validation, at the end of training and after a test: ``step``, ``epoch``, ``images_seen`` (all
    ranks), ``training_seconds`` (wall clock from the start of training, validation included, over all resumed parts),
    ``versions``, ``metrics`` with every ``val/…`` and ``test/…`` number, and ``conventions`` with what the measuring
    callbacks tell about theirs; null stands for NaN and infinity. A test or a validation on its own leaves what
    training wrote, but for the numbers that it measured anew.
    """

    FILE = "metrics.json"

    def __init__(self) -> None:
        self._seconds = 0.0
        self._images = 0
        self._start: float | None = None

    @property
    def training_seconds(self) -> float:
        return self._seconds + (0.0 if self._start is None else time.perf_counter() - self._start)

    def state_dict(self) -> dict[str, Any]:
        return {"training_seconds": self.training_seconds, "images_seen": self._images}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._seconds, self._images = state_dict["training_seconds"], state_dict["images_seen"]

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._start = time.perf_counter()

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Batch, batch_idx: int
    ) -> None:
        self._images += len(batch) * trainer.world_size

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if not trainer.sanity_checking:
            self._write(trainer, "val/")
            # Here, and not by ``self.log``: Lightning would log against the number of batches.
            measured = {name: float(v) for name, v in trainer.callback_metrics.items() if name.startswith("val/")}
            for logger in trainer.loggers:
                logger.log_metrics(measured, step=trainer.global_step)

    def on_test_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._write(trainer, "test/")

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._write(trainer, "val/")
        self._seconds, self._start = self.training_seconds, None

    def _write(self, trainer: pl.Trainer, prefix: str) -> None:
        if not trainer.is_global_zero:
            return
        path = Path(trainer.default_root_dir) / self.FILE
        record = json.loads(path.read_text()) if path.exists() else {}
        if trainer.state.fn == "fit" or not record:
            record = {
                "step": trainer.global_step,
                "epoch": trainer.current_epoch,
                "images_seen": self._images,
                "training_seconds": round(self.training_seconds, 3),
                "metrics": record.get("metrics", {}),
                "conventions": record.get("conventions", {}),
            }
        measured = {name: float(value) for name, value in trainer.callback_metrics.items() if name.startswith(prefix)}
        record["metrics"] |= {name: value if math.isfinite(value) else None for name, value in sorted(measured.items())}
        record.setdefault("conventions", {}).update(self._conventions(trainer, prefix))
        record["versions"] = {name: installed_version(name) for name in ("textok", "torch", "lightning")}
        write_json(path, record)

    @staticmethod
    def _conventions(trainer: pl.Trainer, prefix: str) -> dict[str, Any]:
        """``val/GenerationMetrics[inception]`` → what that callback tells about its last numbers."""
        measuring = [callback for callback in trainer.callbacks if isinstance(callback, MeasuringCallback)]
        return {f"{prefix}{callback.name}": told for callback in measuring if (told := callback.conventions())}


def installed_version(package: str) -> str | None:
    """The version of an installed package, or None."""
    try:
        return version(package)
    except PackageNotFoundError:  # textok, run from a checkout that is not installed
        return None

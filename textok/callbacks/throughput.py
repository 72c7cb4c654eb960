"""How fast training is, against how fast this machine multiplies matrices."""

from __future__ import annotations

import time
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import Callback

from textok.callbacks.stopwatch import Stopwatch
from textok.types import Batch


class Throughput(Callback):
    """Logs ``train/images_per_second`` of all ranks and ``train/matmul_fraction``.

    The fraction is the FLOP/s that training achieves (``flops_per_image`` of the module, forward and backward, counted
    per device) over the rate at which the same device multiplies large matrices in the training's precision, measured
    once at the start. Waiting for data counts; validation and the writing of checkpoints do not. A device is
    synchronised at the ends of the windows only.

    Args:
        window: Steps between two measurements; they end at multiples of it.
    """

    def __init__(self, window: int = 50) -> None:
        if window < 1:
            raise ValueError(f"window must be at least one step, got {window}")
        self.window = window
        self._clock: Stopwatch | None = None
        self._images = 0
        self._step = 0
        self._matmul_rate = 0.0

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._matmul_rate = matmul_rate(pl_module.device, training_dtype(trainer.precision))

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._clock, self._step = None, trainer.global_step

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        if self._clock is not None:
            self._clock.resume()

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Batch, batch_idx: int
    ) -> None:
        self._images += len(batch) * trainer.world_size
        if trainer.global_step == self._step:
            return
        self._step = trainer.global_step
        if self._clock is None:
            # The first step warms up (allocations, compilation): the first window begins after it.
            self._start_window(pl_module.device)
        elif self._step % self.window == 0:
            synchronize(pl_module.device)
            self._log(trainer, pl_module, self._images / self._clock.seconds)
            self._start_window(pl_module.device)

    def _start_window(self, device: torch.device) -> None:
        synchronize(device)
        self._clock, self._images = Stopwatch(), 0

    def _log(self, trainer: pl.Trainer, pl_module: pl.LightningModule, images_per_second: float) -> None:
        values = {"train/images_per_second": images_per_second}
        # Asked anew: the count changes when the discriminator joins.
        flops = pl_module.flops_per_image()
        if flops is not None:
            values["train/matmul_fraction"] = images_per_second / trainer.world_size * flops / self._matmul_rate
        # Straight to the loggers, against the number of steps: Lightning would count batches.
        for logger in trainer.loggers:
            logger.log_metrics(values, step=self._step)
        pl_module.log_dict(values, logger=False)

    def _pause(self, device: torch.device) -> None:
        if self._clock is not None:
            synchronize(device)
            self._clock.pause()

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._pause(pl_module.device)

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        # No hook tells when the file is written: the clock goes on with the next batch.
        self._pause(pl_module.device)


def training_dtype(precision: str) -> torch.dtype:
    """The type in which matrices are multiplied under a precision of Lightning's, ``bf16-mixed`` for example."""
    kind = precision.removeprefix("transformer-engine").split("-")[0]
    return {"bf16": torch.bfloat16, "16": torch.float16, "64": torch.float64}.get(kind, torch.float32)


def matmul_rate(device: torch.device, dtype: torch.dtype, seconds: float = 0.3) -> float:
    """The best FLOP/s this device reaches on square matrix products, found in about ``seconds``.

    Products grow in size until the time is used up or memory would matter; 2 n³ operations each.
    """
    generator = torch.Generator(device).manual_seed(0)  # of its own: training's random numbers stay as they are
    deadline, best = time.perf_counter() + seconds, 0.0
    for size in (256, 512, 1024, 2048) if device.type == "cpu" else (1024, 2048, 4096, 8192):
        left, right = (torch.rand(size, size, device=device, generator=generator).to(dtype) for _ in range(2))
        left @ right
        synchronize(device)
        for _ in range(3):
            start = time.perf_counter()
            left @ right
            synchronize(device)
            duration = time.perf_counter() - start
            best = max(best, 2.0 * size**3 / duration)
            if time.perf_counter() > deadline:
                return best
        # The next size takes eight times as long, once to warm up and once to measure.
        if time.perf_counter() + 16 * duration > deadline:
            return best
    return best


def synchronize(device: torch.device) -> None:
    """Wait until the device has done what was queued; nothing to do on a CPU."""
    if device.type != "cpu":
        torch.accelerator.synchronize(device)

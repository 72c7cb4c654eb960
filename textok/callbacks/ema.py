"""The exponential moving average of the trained weights.

The module owns both networks, ``trained`` and its replica ``ema``, so the average is saved, sharded and resumed like
any other weight; this callback only moves it, once a step.
"""

from __future__ import annotations

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import Callback
from torch import nn


class EMA(Callback):
    """Moves ``pl_module.ema`` towards ``pl_module.trained`` after every generator update.

    Parameters are averaged, ``ema ← ema + (1 − decay) (trained − ema)``; buffers are copied.

    Args:
        decay: Share of the old average that stays at each step.
        ramp: Start with a smaller decay, min(decay, (1 + step) / (10 + step)), the rule of TensorFlow's
            ExponentialMovingAverage: a short run's average then does not hang on to its first weights.
    """

    def __init__(self, decay: float = 0.999, ramp: bool = True) -> None:
        if not 0.0 <= decay < 1.0:
            raise ValueError(f"EMA's decay must be in [0, 1), got {decay}")
        self.decay = decay
        self.ramp = ramp
        self._step = 0

    def decay_at(self, step: int) -> float:
        """The decay of the update that ends step number ``step`` (the first is 1)."""
        return min(self.decay, (1 + step) / (10 + step)) if self.ramp else self.decay

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        for name in ("trained", "ema"):
            if not isinstance(getattr(pl_module, name, None), nn.Module):
                raise ValueError(f"EMA needs {type(pl_module).__name__}.{name} to be a network")
        half = {p.dtype for p in pl_module.ema.parameters() if p.dtype in (torch.float16, torch.bfloat16)}
        if half:
            raise ValueError(
                f"EMA's weights are {half.pop()}, in which steps of {1 - self.decay:.0e} are rounded away: train in a "
                "mixed precision (bf16-mixed), which keeps the weights in float32"
            )

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._step = trainer.global_step

    @torch.no_grad()
    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: object, batch: object, batch_idx: int
    ) -> None:
        # Several batches make a step under accumulation; a skipped update moves the average towards the same weights.
        if trainer.global_step == self._step:
            return
        self._step = trainer.global_step
        average, trained = list(pl_module.ema.parameters()), list(pl_module.trained.parameters())
        if average:
            torch._foreach_lerp_(average, trained, 1.0 - self.decay_at(self._step))
        for copy, buffer in zip(pl_module.ema.buffers(), pl_module.trained.buffers(), strict=True):
            copy.copy_(buffer)

"""Which times of a flow are trained on: a distribution over (0, 1), 0 at the latents and 1 at pure noise."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from textok.noise import normal_rows, uniform_rows


class TimeDistribution(nn.Module, ABC):
    """Base of all distributions of training times."""

    @abstractmethod
    def forward(self, like: Tensor) -> Tensor:
        """Draw (B,) float times in [0, 1] for a (B, …) batch, by :mod:`textok.noise` and on its device."""


class UniformTime(TimeDistribution):
    """All times alike (Liu et al. 2023, "Flow Straight and Fast", eq. 1)."""

    def forward(self, like: Tensor) -> Tensor:
        return uniform_rows(like)


class LogitNormalTime(TimeDistribution):
    """The middle times more often, where the target is hardest to tell (Esser et al. 2024, "Scaling Rectified Flow
    Transformers for High-Resolution Image Synthesis", eq. 19): the logit of the time is normal.

    Args:
        mean: Mean of the logit; above 0 the noisier times come more often.
        std: Deviation of the logit.
    """

    def __init__(self, mean: float = 0.0, std: float = 1.0) -> None:
        super().__init__()
        if not std > 0:
            raise ValueError(f"std of LogitNormalTime must be positive, got {std}")
        self.mean, self.std = mean, std

    def forward(self, like: Tensor) -> Tensor:
        return torch.sigmoid(self.mean + self.std * normal_rows(like))

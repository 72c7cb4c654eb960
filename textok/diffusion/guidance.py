"""Classifier-free guidance: how far a sampler leans towards the condition, and when.

A guidance stands between sampler and denoiser. All channels of the latents are guided; what a denoiser returns beyond
them, a variance, is the conditional branch's.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from textok.diffusion.process import Denoiser
from textok.types import Condition


class Guidance(nn.Module, ABC):
    """Base of all rules that make one prediction of one or more calls of the denoiser."""

    @abstractmethod
    def forward(self, denoiser: Denoiser, x: Tensor, t: Tensor, condition: Condition, progress: float) -> Tensor:
        """The guided prediction.

        Args:
            denoiser: The network.
            x: (B, K, Z) noisy latents.
            t: (B,) times.
            condition: What is to be generated, B rows.
            progress: How much of the process's time has been walked: 0 at pure noise, 1 at the clean latents.

        Returns:
            (B, K, out_dim), as from the denoiser.
        """


class ClassifierFreeGuidance(Guidance):
    """Base of the rules that extrapolate from the unconditional to the conditional prediction.

    ``ε = ε_∅ + w (ε_c − ε_∅)`` (Ho and Salimans 2022, "Classifier-Free Diffusion Guidance", eq. 6; their w is ours
    minus 1): 1 is the conditional model, 0 the unconditional one. Both branches run in one batch, and only where w is
    not 1.

    Args:
        scale: The scale w, at its largest.
    """

    def __init__(self, scale: float) -> None:
        super().__init__()
        if not scale >= 0:
            raise ValueError(f"guidance scale must not be negative, got {scale}; 1 does not guide")
        self.scale = scale

    @abstractmethod
    def scale_at(self, progress: float) -> float:
        """The scale w when ``progress`` in [0, 1] of the time has been walked."""

    def forward(self, denoiser: Denoiser, x: Tensor, t: Tensor, condition: Condition, progress: float) -> Tensor:
        scale = self.scale_at(progress)
        if scale == 1:
            return denoiser(x, t, condition)
        both = denoiser(torch.cat([x, x]), torch.cat([t, t]), condition.guided_pair())
        conditional, unconditional = both.chunk(2)
        channels = x.shape[-1]
        guided = torch.lerp(unconditional[..., :channels], conditional[..., :channels], scale)
        return torch.cat([guided, conditional[..., channels:]], dim=-1)


class ConstantGuidance(ClassifierFreeGuidance):
    """The same scale at all times.

    Args:
        scale: The scale; 1 does not guide and runs the denoiser once.
    """

    def __init__(self, scale: float = 1.0) -> None:
        super().__init__(scale)

    def scale_at(self, progress: float) -> float:
        return self.scale


class IntervalGuidance(ClassifierFreeGuidance):
    """Guidance within a part of the time only (Kynkäänniemi et al. 2024, "Applying Guidance in a Limited Interval").

    Args:
        scale: The scale within the interval; it is 1 outside.
        start: Progress at which guidance begins, 0 at pure noise.
        end: Progress at which it ends, 1 at the clean latents.
    """

    def __init__(self, scale: float, start: float = 0.0, end: float = 1.0) -> None:
        super().__init__(scale)
        if not 0 <= start < end <= 1:
            raise ValueError(f"expected 0 <= start < end <= 1, got start {start} and end {end}")
        self.start, self.end = start, end

    def scale_at(self, progress: float) -> float:
        return self.scale if self.start <= progress <= self.end else 1.0


class PowerCosineGuidance(ClassifierFreeGuidance):
    """A scale that rises from 1 to its full value (Gao et al. 2023, "MDTv2", power-cosine schedule).

    ``w(p) = 1 + (w − 1) (1 − cos(π pᵃ)) / 2`` at progress p.

    Args:
        scale: The scale at the end.
        power: The exponent a; the larger, the later guidance sets in.
    """

    def __init__(self, scale: float, power: float = 4.0) -> None:
        super().__init__(scale)
        if not power > 0:
            raise ValueError(f"power must be positive, got {power}")
        self.power = power

    def scale_at(self, progress: float) -> float:
        return 1 + (self.scale - 1) * (1 - math.cos(math.pi * progress**self.power)) / 2

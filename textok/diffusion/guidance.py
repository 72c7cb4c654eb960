"""Classifier-free guidance: how far a sampler leans towards the condition, and when.

A guidance stands between sampler and denoiser. All channels of the latents are guided; what a denoiser returns beyond
them, a variance, is the conditional branch's.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from textok.diffusion.process import Denoiser, DiffusionProcess
from textok.types import Condition, Sizes

#: Builds a denoiser from num_latents, latent_dim, out_dim and the sizes.
DenoiserFactory = Callable[[int, int, int, Sizes], nn.Module]
#: Reads the averaged denoiser of a checkpoint; a factory says what network it is, None that it is like the guided one.
DenoiserReader = Callable[[Path, DenoiserFactory | None], Denoiser]


class Guidance(nn.Module, ABC):
    """Base of all rules that make one prediction of one or more calls of the denoiser."""

    #: Whether ``load`` has to read a second network before the first call.
    needs_network: bool = False

    def load(self, read: DenoiserReader) -> None:
        """Read what the rule needs beside the denoiser; a second call reads nothing.

        Args:
            read: How a denoiser is read; whoever owns the denoiser knows.
        """

    def begin(self, process: DiffusionProcess) -> None:
        """Called before each walk: a rule that keeps something from step to step forgets it.

        Args:
            process: The process that will be walked.
        """

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


def checked_scale(scale: float) -> float:
    """The scale, unless it is negative."""
    if not scale >= 0:
        raise ValueError(f"guidance scale must not be negative, got {scale}; 1 does not guide")
    return scale


def both_branches(denoiser: Denoiser, x: Tensor, t: Tensor, condition: Condition) -> tuple[Tensor, Tensor]:
    """The conditional and the unconditional prediction, each (B, K, out_dim), in one forward of 2 B rows."""
    both = denoiser(torch.cat([x, x]), torch.cat([t, t]), condition.guided_pair())
    conditional, unconditional = both.chunk(2)
    return conditional, unconditional


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
        self.scale = checked_scale(scale)

    @abstractmethod
    def scale_at(self, progress: float) -> float:
        """The scale w when ``progress`` in [0, 1] of the time has been walked."""

    def forward(self, denoiser: Denoiser, x: Tensor, t: Tensor, condition: Condition, progress: float) -> Tensor:
        scale = self.scale_at(progress)
        if scale == 1:
            return denoiser(x, t, condition)
        conditional, unconditional = both_branches(denoiser, x, t, condition)
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


class LinearGuidance(ClassifierFreeGuidance):
    """A scale that changes evenly over the time (as in MAR's code, Li et al. 2024).

    ``w(p) = start + (w − start) p`` at progress p.

    Args:
        scale: The scale at the end.
        start: The scale at pure noise; 1 does not guide there.
    """

    def __init__(self, scale: float, start: float = 1.0) -> None:
        super().__init__(scale)
        self.start = checked_scale(start)

    def scale_at(self, progress: float) -> float:
        return self.start + (self.scale - self.start) * progress


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

"""Adaptive projected guidance: strong guidance without the overshoot along the prediction itself."""

from __future__ import annotations

import torch
from torch import Tensor

from textok.diffusion.guidance import Guidance, both_branches, checked_scale
from textok.diffusion.process import Denoiser, DiffusionProcess
from textok.types import Condition


class AdaptiveProjectedGuidance(Guidance):
    """Classifier-free guidance of the clean latents, of which the part along the conditional prediction is held back.

    APG (Sadat et al. 2024, "Eliminating Oversaturation and Artifacts of High Guidance Scales in Diffusion Models",
    section 4): the difference Δ of the two predicted x_0 gets a momentum over the steps, ``Δ̄ ← Δ + β Δ̄``; is cut to
    a norm of at most r; and is split along and across the conditional x_0:
    ``D = D_c + (w − 1) (Δ_across + η Δ_along)``.

    Args:
        scale: The scale w; 1 does not guide.
        parallel: The share η of the part along the prediction, which oversaturates; 1 keeps all of it.
        momentum: The momentum β; a negative one pushes off the direction of the steps before.
        norm: Largest norm r of a sample's difference, over all its tokens and channels; null does not cut.
    """

    def __init__(self, scale: float, parallel: float = 0.0, momentum: float = -0.5, norm: float | None = None) -> None:
        super().__init__()
        if not -1 < momentum < 1:
            raise ValueError(f"momentum must lie between -1 and 1, got {momentum}")
        if norm is not None and not norm > 0:
            raise ValueError(f"norm must be positive, got {norm}; null does not cut")
        self.scale = checked_scale(scale)
        self.parallel, self.momentum, self.norm = parallel, momentum, norm

    def begin(self, process: DiffusionProcess) -> None:
        # The methods, not the process: a module kept here would become a part of this one.
        self._to_start, self._to_prediction = process.to_start, process.to_prediction
        self._average: Tensor | float = 0.0

    def forward(self, denoiser: Denoiser, x: Tensor, t: Tensor, condition: Condition, progress: float) -> Tensor:
        if self.scale == 1:
            return denoiser(x, t, condition)
        conditional, unconditional = both_branches(denoiser, x, t, condition)
        channels = x.shape[-1]
        start = self._to_start(x, t, conditional[..., :channels])
        self._average = start - self._to_start(x, t, unconditional[..., :channels]) + self.momentum * self._average
        difference = self._cut(self._average)
        along = self._along(difference, start)
        guided = start + (self.scale - 1) * (difference - along + self.parallel * along)
        return torch.cat([self._to_prediction(x, t, guided), conditional[..., channels:]], dim=-1)

    def _cut(self, difference: Tensor) -> Tensor:
        """(B, K, Z), each sample at most ``norm`` long."""
        if self.norm is None:
            return difference
        length = difference.flatten(1).norm(dim=1).clamp(min=1e-12)
        return difference * (self.norm / length).clamp(max=1.0)[:, None, None]

    @staticmethod
    def _along(difference: Tensor, start: Tensor) -> Tensor:
        """The part of each sample's (B, K, Z) difference that points along its x_0."""
        direction = start / start.flatten(1).norm(dim=1).clamp(min=1e-12)[:, None, None]
        return (difference * direction).flatten(1).sum(dim=1)[:, None, None] * direction

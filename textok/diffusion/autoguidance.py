"""Autoguidance: a generator led away from what a worse version of itself would do."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from textok.diffusion.guidance import DenoiserFactory, DenoiserReader, Guidance, checked_scale
from textok.diffusion.process import Denoiser
from textok.types import Condition


class AutoGuidance(Guidance):
    """Extrapolates from a bad network's conditional prediction to the good one's.

    ``D = D_bad + w (D_good − D_bad)``, both with the condition (Karras et al. 2024, "Guiding a Diffusion Model with a
    Bad Version of Itself", eq. 3 and section 4). The bad one is an earlier checkpoint, a smaller network, or both,
    trained on the latents of the same pair. It is read when sampling starts, into no checkpoint of the good one.

    Args:
        scale: The scale w; 1 does not guide and runs the good network only.
        checkpoint: Stage-2 checkpoint of the bad network, or its run folder; the averaged weights are read.
        network: Factory of the bad network, called with num_latents, latent_dim, out_dim and the sizes; null where it
            is of the same class and size as the good one.
    """

    needs_network = True

    def __init__(self, scale: float, checkpoint: Path, network: DenoiserFactory | None = None) -> None:
        super().__init__()
        self.scale = checked_scale(scale)
        self.checkpoint = checkpoint
        self.network = network
        self.guide: Denoiser | None = None

    def load(self, read: DenoiserReader) -> None:
        if self.guide is None:
            self.guide = read(self.checkpoint, self.network)

    def forward(self, denoiser: Denoiser, x: Tensor, t: Tensor, condition: Condition, progress: float) -> Tensor:
        good = denoiser(x, t, condition)
        if self.scale == 1:
            return good
        if self.guide is None:
            raise RuntimeError("AutoGuidance has no second network yet: call load() before sampling")
        bad = self.guide(x, t, condition)
        channels = x.shape[-1]
        guided = torch.lerp(bad[..., :channels], good[..., :channels], self.scale)
        return torch.cat([guided, good[..., channels:]], dim=-1)

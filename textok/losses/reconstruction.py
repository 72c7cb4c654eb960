"""Reconstruction losses: how far a reconstruction is from its picture, pixel by pixel.

Images live in [−1, 1], so an error of one grey level of 255 is 2/255, and the squared error is four times that of
images in [0, 1]: PSNR = 10 log10(4 / l2).
"""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor, nn

from textok.losses.precision import full


class ReconstructionLoss(nn.Module, ABC):
    """Base of the pixel losses; each is a mean over batch, channels and pixels."""

    @abstractmethod
    def forward(self, reconstruction: Tensor, image: Tensor) -> Tensor:
        """Two (B, 3, H, W) in [−1, 1] → a scalar."""


class L2Loss(ReconstructionLoss):
    """The mean squared error, the l2 of the paper and of MAGVIT."""

    def forward(self, reconstruction: Tensor, image: Tensor) -> Tensor:
        return (full(reconstruction) - full(image)).square().mean()


class L1Loss(ReconstructionLoss):
    """The mean absolute error, as VQGAN."""

    def forward(self, reconstruction: Tensor, image: Tensor) -> Tensor:
        return (full(reconstruction) - full(image)).abs().mean()

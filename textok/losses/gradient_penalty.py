"""R1: keeps the discriminator flat around real pictures.

Source: Mescheder et al., "Which Training Methods for GANs do actually Converge?", equation 9, in the scale of MAGVIT's
public code: without the factor ½.
"""

from __future__ import annotations

from contextlib import nullcontext

import torch
from torch import Tensor, nn

from textok.losses.precision import full


class R1(nn.Module):
    """The mean over real pictures of the squared norm of the discriminator's gradient with respect to the picture.

    With ``every`` above 1 the caller pays the penalty when ``is_due`` and multiplies it by ``every`` as well as by its
    weight, so that its mean over the steps stays the same (lazy regularisation, StyleGAN2, section 3.2).

    A discriminator that returns a map is differentiated at the map's sum. PyTorch has no second derivative of a
    compiled module: hand in the plain one.

    Args:
        every: Pay the penalty at every so many steps; 1 as MAGVIT, 16 as StyleGAN2.
    """

    def __init__(self, every: int = 1) -> None:
        super().__init__()
        if every < 1:
            raise ValueError(f"every must be at least 1, got {every}")
        self.every = every

    def is_due(self, step: int) -> bool:
        """Whether this step pays the penalty."""
        return step % self.every == 0

    def forward(self, discriminator: nn.Module, images: Tensor) -> Tensor:
        """A discriminator and real images (B, 3, H, W) → the scalar penalty, neither weighted nor times ``every``."""
        # In float32: the gradient with respect to a pixel is tiny, its square tinier, and tens of thousands of squares
        # are summed; bfloat16 keeps 8 bits of each and float16 has nothing left below 6e-8.
        kind = images.device.type
        available = torch.amp.is_autocast_available(kind)  # not on the meta device, where work is only counted
        with torch.autocast(kind, enabled=False) if available else nullcontext():
            images = full(images.detach()).requires_grad_(True)
            logits = discriminator(images)
            (gradient,) = torch.autograd.grad(logits.sum(), images, create_graph=True)  # (B, 3, H, W)
            return gradient.square().flatten(1).sum(dim=1).mean()

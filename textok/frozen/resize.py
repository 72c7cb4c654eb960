"""Bring images to the size that a frozen network expects."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def resize(images: Tensor, size: int) -> Tensor:
    """Images (B, C, H, W) → (B, C, size, size), bilinear; differentiable.

    With antialiasing: without it a reduction reads a few pixels and gives no gradient to the others.
    """
    if images.shape[-2:] == (size, size):
        return images
    return F.interpolate(images, size=(size, size), mode="bilinear", align_corners=False, antialias=True)

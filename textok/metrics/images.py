"""The check that images pass before anything is measured on them."""

from __future__ import annotations

import torch
from torch import Tensor

from textok.types import to_uint8

UINT8_RULE = "floor(127.5 x + 128) of floats in [-1, 1], clamped: rounding half up (textok.types.to_uint8)"


def checked_uint8(images: Tensor) -> Tensor:
    """Images (B, 3, H, W), uint8 or float in [−1, 1], as uint8.

    A model overshoots [−1, 1] a little, or a lot early in training, so only a range that cannot be meant is refused.

    Raises:
        ValueError: If they have another shape or type, a NaN or an infinity, or floats that are bytes.
    """
    if images.dim() != 4 or images.shape[1] != 3 or 0 in images.shape[2:]:
        raise ValueError(f"images must be (B, 3, H, W), got {tuple(images.shape)}")
    if images.dtype == torch.uint8:
        return images
    if not images.is_floating_point():
        raise ValueError(f"images must be uint8, or float in [-1, 1], got {images.dtype}")
    if images.numel() == 0:
        return to_uint8(images)
    broken = ~images.isfinite().flatten(1).all(dim=1)
    if broken.any():
        raise ValueError(
            f"{int(broken.sum())} of {len(images)} images hold a NaN or an infinity, the first in row "
            f"{int(broken.nonzero()[0])}: rounding to bytes would hide it"
        )
    low, high = (float(value) for value in images.aminmax())
    if low >= 0 and high > 2:
        raise ValueError(f"float images must be in [-1, 1], got values from {low:g} to {high:g}: are these bytes?")
    return to_uint8(images)

"""Losses are summed in at least float32: bfloat16 keeps 8 bits, and a mean over a batch needs more."""

from __future__ import annotations

import torch
from torch import Tensor


def full(x: Tensor) -> Tensor:
    """A half-precision tensor as float32; float32 and float64 as they are."""
    return x.to(torch.promote_types(x.dtype, torch.float32))

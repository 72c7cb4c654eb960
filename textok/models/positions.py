"""Fixed sin-cos position tables.

Sines and cosines of geometrically spaced frequencies (Vaswani et al. 2017, section 3.5) tell a transformer where a
token stands, and a denoiser how far the diffusion has gone.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor


def sincos(positions: Tensor, width: int, max_period: float = 10_000.0) -> Tensor:
    """Embed scalar positions as sines and cosines.

    ``[sin(p ω_i), cos(p ω_i)]`` with ``ω_i = max_period^(−i / (width / 2))``: the position table of MAE and DiT, and
    DiT's timestep embedding up to the order of its two halves.

    Args:
        positions: (P,) positions or timesteps; integers or not.
        width: Channels of the result, an even number.
        max_period: Longest period, over 2π.

    Returns:
        (P, width), in the precision of ``positions`` if that is float64 and in float32 otherwise.
    """
    if width <= 0 or width % 2:
        raise ValueError(f"sin-cos embeddings need an even, positive width, got {width}")
    half = width // 2
    # Never in half precision: bfloat16 cannot tell timestep 998 from 999.
    dtype = torch.float64 if positions.dtype == torch.float64 else torch.float32
    exponents = torch.arange(half, dtype=dtype, device=positions.device) / half
    angles = positions.to(dtype)[:, None] * torch.exp(-math.log(max_period) * exponents)  # (P, width / 2)
    return torch.cat([angles.sin(), angles.cos()], dim=1)  # (P, width)


def sincos_table(num_positions: int, width: int) -> Tensor:
    """The (num_positions, width) float32 table of the positions 0, 1, 2, …"""
    return sincos(torch.arange(num_positions, dtype=torch.float64), width).float()

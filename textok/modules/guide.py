"""A generator that only guides another: read from a checkpoint of its own, in none afterwards."""

from __future__ import annotations

from torch import Tensor, nn

from textok.frozen import Frozen
from textok.types import Condition


class Guide(Frozen):
    """A frozen denoiser.

    Args:
        network: The denoiser with its weights.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor, t: Tensor, condition: Condition) -> Tensor:
        """(B, K, Z) noisy latents at (B,) times → (B, K, out_dim)."""
        return self.network(x, t, condition)

"""Attention from the tokens of a sequence to tokens beside it (Vaswani et al. 2017, section 3.2.3)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention


class MemoryAttention(nn.Module):
    """Cross-attention: each token asks a memory, here the text tokens.

    Args:
        width: Width D of the tokens and of the memory.
        num_heads: Attention heads; must divide the width.
    """

    def __init__(self, width: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.to_query = nn.Linear(width, width)
        self.to_key_value = nn.Linear(width, 2 * width)
        self.to_out = nn.Linear(width, width)

    def forward(self, x: Tensor, memory: Tensor, mask: Tensor | None = None) -> Tensor:
        """What the memory answers; zero for a sample whose whole memory is masked.

        Args:
            x: (B, S, D) tokens.
            memory: (B, L, D) tokens to attend to.
            mask: (B, L) bool; False at the memory's padding.

        Returns:
            (B, S, D), to be added to the tokens.
        """
        query = self.to_query(x).unflatten(-1, (self.num_heads, -1)).transpose(1, 2)  # (B, heads, S, D / heads)
        key_value = self.to_key_value(memory).unflatten(-1, (2, self.num_heads, -1))  # (B, L, 2, heads, D / heads)
        key, value = key_value.permute(2, 0, 3, 1, 4)
        if mask is None:
            return self._join(scaled_dot_product_attention(query, key, value))
        present = mask.any(dim=1)
        # A softmax over nothing is NaN: such a sample attends to its padding, and the answer is dropped.
        visible = mask | ~present[:, None]
        answer = self._join(scaled_dot_product_attention(query, key, value, attn_mask=visible[:, None, None, :]))
        return torch.where(present[:, None, None], answer, 0.0)

    def _join(self, heads: Tensor) -> Tensor:
        """(B, heads, S, D / heads) → (B, S, D)."""
        return self.to_out(heads.transpose(1, 2).flatten(2))

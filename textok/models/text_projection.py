"""From the text encoder's width to a transformer's: the first layer of all that reads captions token by token."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from textok.models.layers import learned_table
from textok.types import Sizes, TextTokens


class TextProjection(nn.Module):
    """A linear map, a learned table of text positions and, on request, a learned null.

    Args:
        width: Width D of the transformer.
        sizes: What the data and the text encoder dictate.
        learned_null: Give an empty caption one learned token; without it all of its positions stay masked.
    """

    def __init__(self, width: int, sizes: Sizes, learned_null: bool) -> None:
        super().__init__()
        self.project = nn.Linear(sizes.text_dim, width)
        self.positions = learned_table(sizes.num_text_tokens, width)
        self.null = learned_table(width) if learned_null else None

    def forward(self, text: TextTokens | None) -> tuple[Tensor, Tensor]:
        """Project a batch of captions.

        Args:
            text: (B, L, E) text tokens; all positions of an empty caption are masked.

        Returns:
            (B, L, D) tokens and their (B, L) bool mask, True where there is something to attend to.
        """
        if text is None:
            raise ValueError('expected text tokens, got None: give captions ("" where there is none)')
        if text.tokens.shape[1] != len(self.positions):
            raise ValueError(f"expected {len(self.positions)} text tokens a caption, got {text.tokens.shape[1]}")
        tokens = self.project(text.tokens.to(self.project.weight.dtype)) + self.positions  # (B, L, E) -> (B, L, D)
        mask = text.mask
        if self.null is not None:
            first = torch.zeros_like(mask)
            first[:, 0] = ~text.present
            tokens = torch.where(first[..., None], self.null.to(tokens.dtype), tokens)
            mask = mask | first
        return tokens, mask

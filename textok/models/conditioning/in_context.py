"""TexTok's own way: the text tokens are part of the sequence."""

from __future__ import annotations

from torch import Tensor

from textok.models.conditioning.base import TextConditioning
from textok.models.text_projection import TextProjection
from textok.types import Context, Sizes, TextTokens


class InContext(TextConditioning):
    """Text tokens join the self-attention sequence: TexTok's own way (section 3.2, figure 2).

    Each half has its own projection and its own table of text positions.

    Args:
        width: Width D of the transformer.
        sizes: What the data and the text encoder dictate.
        learned_null: Give an empty caption one learned token. Without it an empty caption joins nothing, which a model
            meets in training only if captions are dropped.
    """

    def __init__(self, width: int, sizes: Sizes, learned_null: bool = False) -> None:
        super().__init__(width, sizes)
        self.text = TextProjection(width, sizes, learned_null)

    def forward(self, text: TextTokens | None, label: Tensor | None) -> Context:
        tokens, mask = self.text(text)
        return Context(extra=tokens, extra_mask=mask)

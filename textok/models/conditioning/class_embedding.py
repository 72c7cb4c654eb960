"""The class instead of the caption: what text must beat to be worth its encoder."""

from __future__ import annotations

from torch import Tensor

from textok.models.conditioning.base import TextConditioning
from textok.models.layers import learned_table
from textok.types import Context, Sizes, TextTokens


class ClassEmbedding(TextConditioning):
    """Learned tokens of the image's class join the self-attention sequence (Table 4, kind of text); no caption is read.

    Args:
        width: Width D of the transformer.
        sizes: What the data and the text encoder dictate; the number of classes is read here.
        num_tokens: Tokens J of a class.
    """

    needs_text = False

    def __init__(self, width: int, sizes: Sizes, num_tokens: int = 1) -> None:
        super().__init__(width, sizes)
        if num_tokens < 1:
            raise ValueError(f"num_tokens must be at least 1, got {num_tokens}")
        if sizes.num_classes == 0:
            raise ValueError("ClassEmbedding needs classes, but the data has none: use another conditioning")
        self.tokens = learned_table(sizes.num_classes, num_tokens, width)

    def forward(self, text: TextTokens | None, label: Tensor | None) -> Context:
        if label is None:
            raise ValueError("ClassEmbedding needs the images' labels, got None")
        return Context(extra=self.tokens[label])  # (B,) -> (B, J, D)

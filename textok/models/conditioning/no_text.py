"""The paper's baseline: a half that hears nothing."""

from __future__ import annotations

from torch import Tensor

from textok.models.conditioning.base import TextConditioning
from textok.types import Context, TextTokens


class NoText(TextConditioning):
    """No text at all: the paper's baseline.

    Args:
        width: Width D of the transformer.
        sizes: What the data and the text encoder dictate.
    """

    needs_text = False

    def forward(self, text: TextTokens | None, label: Tensor | None) -> Context:
        return Context()

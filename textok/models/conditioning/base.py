"""What every conditioning strategy shares.

A strategy is built by its half of the pair as ``conditioning(width, sizes)``. It turns text tokens or labels into a
:class:`~textok.types.Context` and names the block that uses it. A strategy of one's own is a subclass of about thirty
lines, named in YAML by its class path (docs/conditioning.md).
"""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor, nn

from textok.models.layers import TransformerBlock
from textok.types import Context, Sizes, TextTokens


class TextConditioning(nn.Module, ABC):
    """Base of all strategies.

    Args:
        width: Width D of the transformer.
        sizes: What the data and the text encoder dictate.
    """

    #: Whether ``forward`` reads text tokens; captions are not even encoded when nobody does.
    needs_text: bool = True

    def __init__(self, width: int, sizes: Sizes) -> None:
        super().__init__()
        self.width = width
        if self.needs_text and sizes.text_dim == 0:
            raise ValueError(
                f"{type(self).__name__} reads captions, but there is no text encoder: "
                "set model.init_args.text_encoder, or use NoText in this half"
            )

    @abstractmethod
    def forward(self, text: TextTokens | None, label: Tensor | None) -> Context:
        """Prepare the context of a batch, once for all blocks.

        Args:
            text: (B, L, E) text tokens; all positions of an empty caption are masked.
            label: (B,) class labels.
        """

    def block(self, num_heads: int, mlp_ratio: float) -> nn.Module:
        """A transformer block that takes ``(x, context, mask)``; plain self-attention unless a strategy has its own."""
        return TransformerBlock(self.width, num_heads, mlp_ratio)

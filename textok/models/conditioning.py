"""How a caption enters a transformer: the plug-in behind the paper's Table 4.

A strategy is built by its half of the tokenizer as ``conditioning(width, sizes)``. It turns text tokens (or labels)
into a :class:`~textok.types.Context` and names the block that uses it. A strategy of one's own is a subclass of about
thirty lines, named in YAML by its class path.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from textok.models.layers import TransformerBlock, learned_table
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


class NoText(TextConditioning):
    """No text at all: the paper's baseline.

    Args:
        width: Width D of the transformer.
        sizes: What the data and the text encoder dictate.
    """

    needs_text = False

    def forward(self, text: TextTokens | None, label: Tensor | None) -> Context:
        return Context()


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
        self.project = nn.Linear(sizes.text_dim, width)
        self.positions = learned_table(sizes.num_text_tokens, width)
        self.null = learned_table(width) if learned_null else None

    def forward(self, text: TextTokens | None, label: Tensor | None) -> Context:
        if text is None:
            raise ValueError("InContext needs text tokens, got None")
        if text.tokens.shape[1] != len(self.positions):
            raise ValueError(f"expected {len(self.positions)} text tokens a caption, got {text.tokens.shape[1]}")
        extra = self.project(text.tokens.to(self.project.weight.dtype)) + self.positions  # (B, L, E) -> (B, L, D)
        mask = text.mask
        if self.null is not None:
            empty = ~text.present
            first = torch.zeros_like(mask)
            first[:, 0] = empty
            extra = torch.where(first[..., None], self.null.to(extra.dtype), extra)
            mask = mask | first
        return Context(extra=extra, extra_mask=mask)

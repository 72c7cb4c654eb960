"""The caption as one vector that shifts, scales and gates the norms of every block."""

from __future__ import annotations

import torch
from timm.layers import Mlp
from torch import Tensor, nn
from torch.nn.functional import silu

from textok.models.conditioning.base import TextConditioning
from textok.models.layers import TransformerBlock, ZeroLinear
from textok.types import Context, Sizes, TextTokens


class AdaptiveBlock(TransformerBlock):
    """ViT block with adaptive layer norm (DiT, figure 3) that starts as the plain block.

    DiT's gates start closed; here they start at 1, since a tokenizer must learn to see before a caption can help it.

    Args:
        width: Width D of the tokens and of the context's vector.
        num_heads: Attention heads; must divide the width.
        mlp_ratio: Hidden width of the MLP over D.
    """

    def __init__(self, width: int, num_heads: int, mlp_ratio: float) -> None:
        super().__init__(width, num_heads, mlp_ratio)
        self.modulation = ZeroLinear(width, 6 * width)

    def forward(self, x: Tensor, context: Context, mask: Tensor | None = None) -> Tensor:
        """(B, S, D) → (B, S, D); ``mask`` is (B, 1, 1, S), False at the tokens that nobody may attend to."""
        changes = self.modulation(context.vector)[:, None].chunk(6, dim=-1)  # 6 × (B, 1, D)
        shift1, scale1, gate1, shift2, scale2, gate2 = changes
        x = x + (1 + gate1) * self.attn(self.norm1(x) * (1 + scale1) + shift1, attn_mask=mask)
        return x + (1 + gate2) * self.mlp(self.norm2(x) * (1 + scale2) + shift2)


class PooledText(TextConditioning):
    """The mean of the caption's tokens, through an MLP, modulates the layer norms of every block (adaLN).

    The cheapest of the strategies: neither sequence nor attention grows. An empty caption is the zero vector, of which
    the blocks' learned biases are what remains.

    Args:
        width: Width D of the transformer.
        sizes: What the data and the text encoder dictate.
    """

    def __init__(self, width: int, sizes: Sizes) -> None:
        super().__init__(width, sizes)
        self.embed = Mlp(sizes.text_dim, width, width, act_layer=nn.SiLU)

    def forward(self, text: TextTokens | None, label: Tensor | None) -> Context:
        if text is None:
            raise ValueError('expected text tokens, got None: give captions ("" where there is none)')
        tokens = text.tokens.to(self.embed.fc1.weight.dtype)
        count = text.mask.sum(dim=1, keepdim=True).clamp(min=1)
        mean = tokens.where(text.mask[..., None], 0.0).sum(dim=1) / count  # (B, L, E) -> (B, E)
        vector = silu(self.embed(mean))  # (B, D)
        return Context(vector=torch.where(text.present[:, None], vector, 0.0))

    def block(self, num_heads: int, mlp_ratio: float) -> nn.Module:
        return AdaptiveBlock(self.width, num_heads, mlp_ratio)

"""The text beside the sequence: an extra cross-attention in every block."""

from __future__ import annotations

from torch import Tensor, nn

from textok.models.attention import MemoryAttention
from textok.models.conditioning.base import TextConditioning
from textok.models.layers import TransformerBlock
from textok.models.text_projection import TextProjection
from textok.types import Context, Sizes, TextTokens


class CrossAttentionBlock(TransformerBlock):
    """Pre-norm ViT block with attention to the context's memory between self-attention and MLP.

    Args:
        width: Width D of the tokens.
        num_heads: Attention heads of both attentions; must divide the width.
        mlp_ratio: Hidden width of the MLP over D.
    """

    def __init__(self, width: int, num_heads: int, mlp_ratio: float) -> None:
        super().__init__(width, num_heads, mlp_ratio)
        self.norm_memory = nn.LayerNorm(width, eps=1e-6)
        self.memory_attention = MemoryAttention(width, num_heads)

    def forward(self, x: Tensor, context: Context, mask: Tensor | None = None) -> Tensor:
        """(B, S, D) → (B, S, D); ``mask`` is (B, 1, 1, S), False at the tokens that nobody may attend to."""
        x = x + self.attn(self.norm1(x), attn_mask=mask)
        x = x + self.memory_attention(self.norm_memory(x), context.memory, context.memory_mask)
        return x + self.mlp(self.norm2(x))


class CrossAttention(TextConditioning):
    """Each block attends to the text tokens after its self-attention: the paper's alternative to in-context (Table 4).

    The sequence stays as long as it is without text; each block grows by one attention.

    Args:
        width: Width D of the transformer.
        sizes: What the data and the text encoder dictate.
        learned_null: Give an empty caption one learned token. Without it an empty caption adds nothing, which a model
            meets in training only if captions are dropped.
    """

    def __init__(self, width: int, sizes: Sizes, learned_null: bool = False) -> None:
        super().__init__(width, sizes)
        self.text = TextProjection(width, sizes, learned_null)

    def forward(self, text: TextTokens | None, label: Tensor | None) -> Context:
        tokens, mask = self.text(text)
        return Context(memory=tokens, memory_mask=mask)

    def block(self, num_heads: int, mlp_ratio: float) -> nn.Module:
        return CrossAttentionBlock(self.width, num_heads, mlp_ratio)

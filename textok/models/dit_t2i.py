"""DiT-T2I: the Diffusion Transformer that reads a caption (TexTok, section 3.3).

The text tokens are those that the pair reads, encoded once; every block attends to them after its self-attention, the
cross-attention variant of DiT (Peebles and Xie 2023, section 3.2). Time, and the class where it is wanted, keep to
adaptive layer norm.
"""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor, nn

from textok.models.attention import MemoryAttention
from textok.models.dit import DiT, DiTBlock, modulate
from textok.models.text_projection import TextProjection
from textok.types import Condition, Context, Sizes


class DiTT2IBlock(DiTBlock):
    """DiT's block with attention to the context's memory after self-attention.

    What the memory answers passes a linear map that starts at zero, so an untrained block is the identity.

    Args:
        width: Width D.
        num_heads: Attention heads of both attentions.
        mlp_ratio: Hidden width of the MLP over D.
    """

    def __init__(self, width: int, num_heads: int, mlp_ratio: float) -> None:
        super().__init__(width, num_heads, mlp_ratio)
        self.norm_memory = nn.LayerNorm(width, eps=1e-6)
        self.memory_attention = MemoryAttention(width, num_heads)

    def init_gates(self) -> None:
        super().init_gates()
        nn.init.zeros_(self.memory_attention.to_out.weight)

    def forward(self, x: Tensor, context: Context) -> Tensor:
        """(B, K, D) tokens → (B, K, D)."""
        shift1, scale1, gate1, shift2, scale2, gate2 = self.modulation(context.vector).chunk(6, dim=1)  # 6 × (B, D)
        x = x + gate1[:, None] * self.attention(modulate(self.norm1(x), shift1, scale1))
        x = x + self.memory_attention(self.norm_memory(x), context.memory, context.memory_mask)
        return x + gate2[:, None] * self.mlp(modulate(self.norm2(x), shift2, scale2))


class DiTT2I(DiT):
    """A denoiser of latent tokens that reads captions, and the class too where asked to.

    Where the condition is dropped, caption and class give way to their learned nulls; an empty caption is the null,
    too. The detokenizer is not concerned: it always gets the caption.

    Args:
        num_latents: Latent tokens K of an image.
        latent_dim: Channels Z of a latent token.
        out_dim: Output channels a token, as the diffusion process asks for.
        sizes: What the data and the text encoder dictate.
        width: Width D of the transformer.
        depth: Number of blocks.
        num_heads: Attention heads a block.
        mlp_ratio: Hidden width of the MLPs over D.
        with_class: Read the class beside the caption.
    """

    needs_text = True

    def __init__(
        self,
        num_latents: int,
        latent_dim: int,
        out_dim: int,
        sizes: Sizes,
        width: int = 384,
        depth: int = 12,
        num_heads: int = 6,
        mlp_ratio: float = 4.0,
        with_class: bool = False,
    ) -> None:
        if sizes.text_dim == 0:
            raise ValueError(
                "DiTT2I reads captions, but there is no text encoder: set model.init_args.text_encoder, or use DiT"
            )
        sizes = sizes if with_class else replace(sizes, num_classes=0)
        super().__init__(num_latents, latent_dim, out_dim, sizes, width, depth, num_heads, mlp_ratio)
        self.text = TextProjection(width, sizes, learned_null=True)
        self.init_weights()

    def make_block(self, sizes: Sizes) -> nn.Module:
        return DiTT2IBlock(self.width, self.num_heads, self.mlp_ratio)

    def make_context(self, t: Tensor, condition: Condition) -> Context:
        """Time and class as DiT's vector, and the caption's tokens as memory."""
        text = condition.text
        if text is not None and condition.drop is not None:
            text = text.without(condition.drop)
        memory, memory_mask = self.text(text)
        return replace(super().make_context(t, condition), memory=memory, memory_mask=memory_mask)

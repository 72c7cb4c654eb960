"""The Diffusion Transformer over latent tokens (Peebles and Xie, "Scalable Diffusion Models with Transformers", 2023).

A latent token is a token of the transformer: patch size 1. The timestep and the class reach every block through
adaptive layer norm whose gates start at zero (adaLN-Zero): an untrained block changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import torch
from timm.layers import Attention, Mlp
from torch import Tensor, nn
from torch.nn.functional import silu

from textok.models.positions import sincos, sincos_table
from textok.types import Condition, Context, Sizes


def modulate(x: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    """Shift and scale (B, K, D) tokens by (B, D) vectors (DiT, figure 3)."""
    return x * (1 + scale[:, None]) + shift[:, None]


class TimestepEmbedding(nn.Module):
    """Diffusion time as a vector: 256 sin-cos channels and a two-layer MLP (DiT, section 3.2).

    Args:
        width: Width D of the transformer.
        num_frequencies: Sin-cos channels that the MLP reads.
    """

    def __init__(self, width: int, num_frequencies: int = 256) -> None:
        super().__init__()
        self.num_frequencies = num_frequencies
        self.mlp = Mlp(num_frequencies, width, width, act_layer=nn.SiLU)

    def forward(self, t: Tensor) -> Tensor:
        """(B,) times → (B, D)."""
        return self.mlp(sincos(t, self.num_frequencies).to(self.mlp.fc1.weight.dtype))


class DiTBlock(nn.Module):
    """Self-attention and MLP, each shifted, scaled and gated by the condition (adaLN-Zero, DiT, figure 3).

    A block reads from the context what it knows, here only ``vector``; a block for text also reads ``memory``.

    Args:
        width: Width D.
        num_heads: Attention heads.
        mlp_ratio: Hidden width of the MLP over D.
    """

    def __init__(self, width: int, num_heads: int, mlp_ratio: float) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=1e-6, elementwise_affine=False)
        self.attention = Attention(width, num_heads=num_heads, qkv_bias=True)
        self.norm2 = nn.LayerNorm(width, eps=1e-6, elementwise_affine=False)
        self.mlp = Mlp(width, int(width * mlp_ratio), act_layer=partial(nn.GELU, approximate="tanh"))
        self.modulation = nn.Linear(width, 6 * width)

    def init_gates(self) -> None:
        """Close the gates, so that the block starts as the identity."""
        nn.init.zeros_(self.modulation.weight)
        nn.init.zeros_(self.modulation.bias)

    def forward(self, x: Tensor, context: Context) -> Tensor:
        """(B, K, D) tokens → (B, K, D)."""
        shift1, scale1, gate1, shift2, scale2, gate2 = self.modulation(context.vector).chunk(6, dim=1)  # 6 × (B, D)
        x = x + gate1[:, None] * self.attention(modulate(self.norm1(x), shift1, scale1))
        return x + gate2[:, None] * self.mlp(modulate(self.norm2(x), shift2, scale2))


class FinalLayer(nn.Module):
    """The adaptive layer norm and the linear map to the output channels; starts at zero.

    Args:
        width: Width D.
        out_dim: Output channels a token.
    """

    def __init__(self, width: int, out_dim: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width, eps=1e-6, elementwise_affine=False)
        self.modulation = nn.Linear(width, 2 * width)
        self.linear = nn.Linear(width, out_dim)

    def init_gates(self) -> None:
        """Make the output of an untrained network zero."""
        for layer in (self.modulation, self.linear):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor, context: Context) -> Tensor:
        """(B, K, D) tokens → (B, K, out_dim)."""
        shift, scale = self.modulation(context.vector).chunk(2, dim=1)
        return self.linear(modulate(self.norm(x), shift, scale))


class DiT(nn.Module):
    """A class-conditional denoiser of latent tokens.

    The published sizes as depth, width, heads: S 12, 384, 6; B 12, 768, 12; L 24, 1024, 16; XL 28, 1152, 16.

    A subclass with other conditions overrides ``make_block`` and ``make_context``; nothing else depends on them. One
    with parameters of its own calls ``init_weights`` when it has them. Blocks may be compiled one by one
    (``block.compile()``).

    Args:
        num_latents: Latent tokens K of an image.
        latent_dim: Channels Z of a latent token.
        out_dim: Output channels a token, as the diffusion process asks for.
        sizes: What the data dictate; the number of classes is read here.
        width: Width D of the transformer.
        depth: Number of blocks.
        num_heads: Attention heads a block.
        mlp_ratio: Hidden width of the MLPs over D.

    Attributes:
        num_classes: Valid labels are 0 … num_classes − 1. They are not checked here, which would make the host wait for
            the device: the caller checks them where they are still on the CPU.
    """

    #: Whether captions are read; they are not even encoded when nobody does.
    needs_text: bool = False

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
    ) -> None:
        super().__init__()
        counts = dict(num_latents=num_latents, latent_dim=latent_dim, out_dim=out_dim, width=width, depth=depth)
        for name, value in {**counts, "num_heads": num_heads, "mlp_ratio": mlp_ratio}.items():
            if value <= 0:
                raise ValueError(f"{name} must be positive, got {value}")
        if width % num_heads:
            raise ValueError(f"num_heads must divide the width, got width {width} and {num_heads} heads")
        self.num_latents, self.latent_dim, self.out_dim = num_latents, latent_dim, out_dim
        self.num_classes = sizes.num_classes
        self.width, self.num_heads, self.mlp_ratio = width, num_heads, mlp_ratio

        self.embed = nn.Linear(latent_dim, width)
        self.register_buffer("positions", sincos_table(num_latents, width), persistent=False)
        self.embed_time = TimestepEmbedding(width)
        self.embed_class = nn.Embedding(self.num_classes + 1, width)  # the last row is the learned null
        self.blocks = nn.ModuleList(self.make_block(sizes) for _ in range(depth))
        self.final = FinalLayer(width, out_dim)
        self.init_weights()

    def make_block(self, sizes: Sizes) -> nn.Module:
        """One block; it is called as ``block(x, context)``."""
        return DiTBlock(self.width, self.num_heads, self.mlp_ratio)

    def make_context(self, t: Tensor, condition: Condition) -> Context:
        """What the blocks are told: the timestep's and the class's embeddings, added (DiT, section 3.2).

        The learned null stands where the condition is dropped, and everywhere when it or the network has no classes.
        """
        null = torch.full(t.shape, self.num_classes, dtype=torch.long, device=t.device)
        label = null if condition.label is None or self.num_classes == 0 else condition.label
        if condition.drop is not None:
            label = torch.where(condition.drop, null, label)
        # DiT applies this SiLU in every block; once is the same.
        return Context(vector=silu(self.embed_time(t) + self.embed_class(label)))

    def units(self) -> Iterator[nn.Module]:
        """The parts to shard, inner before outer; each is only ever used through its ``forward``."""
        yield from self.blocks
        yield self

    def init_weights(self) -> None:
        """DiT's initialisation: Xavier-uniform linear layers, N(0, 0.02²) embeddings, everything behind a gate zero."""
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        for weight in (self.embed_class.weight, self.embed_time.mlp.fc1.weight, self.embed_time.mlp.fc2.weight):
            nn.init.normal_(weight, std=0.02)
        for gated in (*self.blocks, self.final):
            gated.init_gates()

    def forward(self, x: Tensor, t: Tensor, condition: Condition) -> Tensor:
        """Read noisy latents at a time of the diffusion.

        Args:
            x: (B, K, Z) noisy latents.
            t: (B,) times in the training process's units, 0 … num_timesteps − 1; integers or not.
            condition: What is to be generated, B rows.

        Returns:
            (B, K, out_dim).
        """
        if x.shape[1:] != (self.num_latents, self.latent_dim):
            raise ValueError(f"expected (B, {self.num_latents}, {self.latent_dim}) latents, got {tuple(x.shape)}")
        context = self.make_context(t, condition)
        x = self.embed(x) + self.positions  # (B, K, D)
        for block in self.blocks:
            x = block(x, context)
        return self.final(x, context)  # (B, K, out_dim)

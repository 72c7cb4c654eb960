"""Figure 2 of the paper: tokenizer, detokenizer, and TexTok, the pair.

tokenizer    [ image patches ; learnable latent queries ; text ]  →  ViT  →  the queries' outputs  →  latent tokens
detokenizer  [ learnable patch tokens ; latent tokens ; text ]    →  ViT  →  the patches' outputs  →  pixels
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from textok.models.bottleneck import Bottleneck, PlainBottleneck
from textok.models.conditioning import InContext, TextConditioning
from textok.models.layers import init_transformer, learned_table, patchify, unpatchify
from textok.types import Context, Sizes, TextTokens


class ConditionedTransformer(nn.Module):
    """A ViT trunk whose sequence may be joined by text; shared by both halves.

    Args:
        sizes: What the data and the text encoder dictate.
        width: Width D of the tokens.
        depth: Number of blocks.
        num_heads: Attention heads of a block.
        mlp_ratio: Hidden width of the MLP over D.
        conditioning: Factory of the conditioning strategy.
    """

    def __init__(
        self,
        sizes: Sizes,
        width: int,
        depth: int,
        num_heads: int,
        mlp_ratio: float,
        conditioning: Callable[[int, Sizes], TextConditioning],
    ) -> None:
        super().__init__()
        self.conditioning = conditioning(width, sizes)
        self.blocks = nn.ModuleList(self.conditioning.block(num_heads, mlp_ratio) for _ in range(depth))
        self.norm = nn.LayerNorm(width, eps=1e-6)

    def forward(self, tokens: Tensor, text: TextTokens | None, label: Tensor | None) -> Tensor:
        """(B, S, D) → (B, S, D): the text's own positions are dropped again."""
        length = tokens.shape[1]
        context = self.conditioning(text, label)
        x, mask = self._join(tokens, context)  # (B, S + J, D)
        for block in self.blocks:
            x = block(x, context, mask)
        return self.norm(x[:, :length])

    @staticmethod
    def _join(tokens: Tensor, context: Context) -> tuple[Tensor, Tensor | None]:
        """Append the context's tokens, and mask their padding so that it influences nothing."""
        if context.extra is None:
            return tokens, None
        x = torch.cat([tokens, context.extra.to(tokens.dtype)], dim=1)
        if context.extra_mask is None:
            return x, None
        seen = torch.ones(tokens.shape[:2], dtype=torch.bool, device=tokens.device)
        mask = torch.cat([seen, context.extra_mask], dim=1)
        return x, mask[:, None, None, :]  # (B, 1, 1, S + J)


class Tokenizer(nn.Module):
    """Image and caption → latent tokens.

    Args:
        num_patches: Patch tokens N of an image.
        patch_dim: Values of a patch, 3·patch².
        num_latents: Latent tokens K.
        trunk: The conditioned transformer.
        bottleneck: From width to latent channels.
        width: Width D of the trunk.
        table_std: σ of the learned tables at the start.
    """

    def __init__(
        self,
        num_patches: int,
        patch_dim: int,
        num_latents: int,
        trunk: ConditionedTransformer,
        bottleneck: Bottleneck,
        width: int,
        table_std: float,
    ) -> None:
        super().__init__()
        self.embed_patches = nn.Linear(patch_dim, width)
        self.queries = learned_table(num_latents, width, std=table_std)
        self.positions = learned_table(num_patches + num_latents, width, std=table_std)
        self.trunk = trunk
        self.bottleneck = bottleneck

    def forward(
        self, patches: Tensor, text: TextTokens | None = None, label: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """(B, N, 3·patch²) → latents (B, K, Z) and the bottleneck's penalty ()."""
        patch_tokens = self.embed_patches(patches)  # (B, N, D)
        queries = self.queries.to(patch_tokens.dtype).expand(len(patches), -1, -1)  # (B, K, D)
        x = torch.cat([patch_tokens, queries], dim=1) + self.positions  # (B, N + K, D)
        x = self.trunk(x, text, label)
        return self.bottleneck(x[:, patches.shape[1] :])


class Detokenizer(nn.Module):
    """Latent tokens and caption → image.

    Args:
        num_patches: Patch tokens N of an image.
        patch_dim: Values of a patch, 3·patch².
        num_latents: Latent tokens K.
        latent_dim: Channels Z of a latent token.
        trunk: The conditioned transformer.
        width: Width D of the trunk.
        table_std: σ of the learned tables at the start.
    """

    def __init__(
        self,
        num_patches: int,
        patch_dim: int,
        num_latents: int,
        latent_dim: int,
        trunk: ConditionedTransformer,
        width: int,
        table_std: float,
    ) -> None:
        super().__init__()
        self.patch_tokens = learned_table(num_patches, width, std=table_std)
        self.embed_latents = nn.Linear(latent_dim, width)
        self.positions = learned_table(num_patches + num_latents, width, std=table_std)
        self.trunk = trunk
        self.to_pixels = nn.Linear(width, patch_dim)

    def forward(self, latents: Tensor, text: TextTokens | None = None, label: Tensor | None = None) -> Tensor:
        """(B, K, Z) → patches (B, N, 3·patch²)."""
        latent_tokens = self.embed_latents(latents)  # (B, K, D)
        patch_tokens = self.patch_tokens.to(latent_tokens.dtype).expand(len(latents), -1, -1)  # (B, N, D)
        x = torch.cat([patch_tokens, latent_tokens], dim=1) + self.positions  # (B, N + K, D)
        x = self.trunk(x, text, label)
        return self.to_pixels(x[:, : len(self.patch_tokens)])


class TexTok(nn.Module):
    """The pair: images → latent tokens → images, with the help of captions on both ways.

    The defaults are the paper's at 256²: two ViT-Base halves, patch 8, 32 latent tokens of 8 channels.

    Args:
        sizes: What the data and the text encoder dictate.
        num_latents: Latent tokens K of an image.
        patch_size: Side of a patch in pixels; must divide the image size.
        width: Width D of both transformers.
        depth: Blocks of each half.
        num_heads: Attention heads of a block; must divide the width.
        mlp_ratio: Hidden width of the MLPs over D.
        bottleneck: Factory of the bottleneck, called with the width.
        tokenizer_conditioning: How the caption enters the tokenizer, called with width and sizes.
        detokenizer_conditioning: How the caption enters the detokenizer, called with width and sizes.
        table_std: σ of the learned tables (queries, patch tokens, positions) at the start. ViT's 0.02 is small beside
            what the first block adds to the stream, so tokens look alike until the tables have grown; a short run
            learns sooner from a larger one.
    """

    def __init__(
        self,
        sizes: Sizes,
        num_latents: int = 32,
        patch_size: int = 8,
        width: int = 768,
        depth: int = 12,
        num_heads: int = 12,
        mlp_ratio: float = 4.0,
        bottleneck: Callable[[int], Bottleneck] = PlainBottleneck,
        tokenizer_conditioning: Callable[[int, Sizes], TextConditioning] = InContext,
        detokenizer_conditioning: Callable[[int, Sizes], TextConditioning] = InContext,
        table_std: float = 0.02,
    ) -> None:
        super().__init__()
        if table_std <= 0:
            raise ValueError(f"table_std must be positive, got {table_std}")
        _check_choices(sizes, num_latents, patch_size, width, depth, num_heads)
        self.sizes = sizes
        self.num_latents = num_latents
        self.patch_size = patch_size
        num_patches = (sizes.image_size // patch_size) ** 2
        patch_dim = 3 * patch_size**2
        neck = bottleneck(width)
        self.latent_dim = neck.latent_dim

        def trunk(conditioning: Callable[[int, Sizes], TextConditioning]) -> ConditionedTransformer:
            return ConditionedTransformer(sizes, width, depth, num_heads, mlp_ratio, conditioning)

        self.tokenizer = Tokenizer(
            num_patches, patch_dim, num_latents, trunk(tokenizer_conditioning), neck, width, table_std
        )
        self.detokenizer = Detokenizer(
            num_patches, patch_dim, num_latents, self.latent_dim, trunk(detokenizer_conditioning), width, table_std
        )
        self.apply(init_transformer)

    @property
    def needs_text(self) -> bool:
        """Whether a half reads captions."""
        return any(half.trunk.conditioning.needs_text for half in (self.tokenizer, self.detokenizer))

    @property
    def last_layer(self) -> nn.Parameter:
        """The weight that the adaptive adversarial weight compares gradients at."""
        return self.detokenizer.to_pixels.weight

    def blocks(self) -> Iterator[nn.Module]:
        """All transformer blocks: the units to compile, to checkpoint and to shard."""
        yield from self.tokenizer.trunk.blocks
        yield from self.detokenizer.trunk.blocks

    def units(self) -> Iterator[nn.Module]:
        """The parts to shard, inner before outer; each is only ever used through its ``forward``."""
        yield from self.blocks()
        yield self.tokenizer
        yield self.detokenizer

    def encode(self, images: Tensor, text: TextTokens | None = None, label: Tensor | None = None) -> Tensor:
        """Images (B, 3, H, W) in [−1, 1] → latents (B, K, Z)."""
        return self._encode(images, text, label)[0]

    def decode(self, latents: Tensor, text: TextTokens | None = None, label: Tensor | None = None) -> Tensor:
        """Latents (B, K, Z) → images (B, 3, H, W), not clamped to [−1, 1]."""
        if latents.shape[1:] != (self.num_latents, self.latent_dim):
            raise ValueError(
                f"expected latents of shape (B, {self.num_latents}, {self.latent_dim}), got {tuple(latents.shape)}"
            )
        return unpatchify(self.detokenizer(latents, text, label), self.patch_size)

    def forward(
        self, images: Tensor, text: TextTokens | None = None, label: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Images (B, 3, H, W) → reconstructions (B, 3, H, W), latents (B, K, Z) and the bottleneck's penalty ()."""
        latents, penalty = self._encode(images, text, label)
        return self.decode(latents, text, label), latents, penalty

    def _encode(self, images: Tensor, text: TextTokens | None, label: Tensor | None) -> tuple[Tensor, Tensor]:
        size = self.sizes.image_size
        if images.shape[1:] != (3, size, size):
            raise ValueError(f"expected images of shape (B, 3, {size}, {size}), got {tuple(images.shape)}")
        return self.tokenizer(patchify(images, self.patch_size), text, label)


def _check_choices(sizes: Sizes, num_latents: int, patch_size: int, width: int, depth: int, num_heads: int) -> None:
    for name, value in {
        "num_latents": num_latents,
        "patch_size": patch_size,
        "width": width,
        "depth": depth,
        "num_heads": num_heads,
    }.items():
        if value <= 0:
            raise ValueError(f"{name} must be positive, got {value}")
    if sizes.image_size % patch_size:
        raise ValueError(
            f"image_size {sizes.image_size} is not a multiple of patch_size {patch_size}: "
            f"use an image_size of {sizes.image_size // patch_size * patch_size or patch_size}, or another patch_size"
        )
    if width % num_heads:
        raise ValueError(f"width {width} is not a multiple of num_heads {num_heads}")

"""The transformer block of both halves, and the cut of an image into patches.

Attention and MLP are timm's (fused scaled-dot-product attention); what is ours is only that a block also sees the
context of the conditioning strategy, so a strategy can bring a block of its own.
"""

from __future__ import annotations

import torch
from timm.models.vision_transformer import Block
from torch import Tensor, nn

from textok.types import Context


class TransformerBlock(Block):
    """Pre-norm ViT block: self-attention and MLP (Dosovitskiy et al. 2021, eq. 2-3); it ignores the context.

    Args:
        width: Width D of the tokens.
        num_heads: Attention heads; must divide the width.
        mlp_ratio: Hidden width of the MLP over D.
    """

    def __init__(self, width: int, num_heads: int, mlp_ratio: float = 4.0) -> None:
        super().__init__(width, num_heads, mlp_ratio=mlp_ratio, qkv_bias=True)

    def forward(self, x: Tensor, context: Context, mask: Tensor | None = None) -> Tensor:
        """(B, S, D) → (B, S, D); ``mask`` is (B, 1, 1, S), False at the tokens that nobody may attend to."""
        return super().forward(x, attn_mask=mask)


class ZeroLinear(nn.Linear):
    """A linear map that starts at zero: what it computes is absent from an untrained network."""

    def reset_parameters(self) -> None:
        nn.init.zeros_(self.weight)
        if self.bias is not None:
            nn.init.zeros_(self.bias)


def patchify(images: Tensor, patch_size: int) -> Tensor:
    """Cut (B, 3, H, W) images into (B, N, 3·patch²) patches, row by row."""
    b, c, h, w = images.shape
    rows, columns = h // patch_size, w // patch_size
    x = images.reshape(b, c, rows, patch_size, columns, patch_size)
    return x.permute(0, 2, 4, 1, 3, 5).reshape(b, rows * columns, c * patch_size * patch_size)


def unpatchify(patches: Tensor, patch_size: int) -> Tensor:
    """Put (B, N, 3·patch²) patches of a square image back together: the inverse of :func:`patchify`."""
    b, n, _ = patches.shape
    side = round(n**0.5)
    x = patches.reshape(b, side, side, -1, patch_size, patch_size)
    return x.permute(0, 3, 1, 4, 2, 5).reshape(b, -1, side * patch_size, side * patch_size)


def init_transformer(module: nn.Module) -> None:
    """ViT's initialisation, for ``module.apply``: truncated normal, zero biases.

    σ is ViT's 0.02 for inputs of ViT-Base's width and grows as 1/√inputs for narrower ones: 0.02 at a width of 128
    would start every layer at a sixth of the signal it gets at 768, and small models would learn late. A
    :class:`ZeroLinear` stays at zero.
    """
    if isinstance(module, ZeroLinear):
        module.reset_parameters()
    elif isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02 * max(1.0, 768 / module.in_features) ** 0.5)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def learned_table(*shape: int, std: float = 0.02) -> nn.Parameter:
    """A learned table of tokens or positions, normal and cut at ±2 as in ViT's code."""
    return nn.Parameter(nn.init.trunc_normal_(torch.empty(*shape), std=std))

"""Discriminators: networks that tell pictures from reconstructions, and return logits and nothing else.

The R1 penalty differentiates a logit twice and takes it to depend on its own picture alone. So no layer here looks at
batch mates (no batch norm, no minibatch statistics), and every layer has a second derivative.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from textok.types import Sizes


class Discriminator(nn.Module, ABC):
    """Base of all discriminators; the parent builds them as ``discriminator(sizes)``."""

    @abstractmethod
    def forward(self, images: Tensor) -> Tensor:
        """Images (B, 3, H, W) in [−1, 1] → logits, (B,) or a map (B, 1, h, w); positive means real."""


class AveragePool(nn.Module):
    """Halves a map by the mean of each 2×2 square; the choice of MAGVIT."""

    def forward(self, x: Tensor) -> Tensor:
        return F.avg_pool2d(x, 2)  # (B, C, h/2, w/2)


class BlurPool(nn.Module):
    """Halves a map behind the blur [1, 3, 3, 1], which lets less aliasing through; the choice of MAGVIT-v2.

    Source: Zhang, "Making Convolutional Networks Shift-Invariant Again"; borders padded with zeros as MAGVIT.
    """

    kernel: Tensor

    def __init__(self) -> None:
        super().__init__()
        line = torch.tensor([1.0, 3.0, 3.0, 1.0]) / 8
        self.register_buffer("kernel", torch.outer(line, line)[None, None], persistent=False)  # (1, 1, 4, 4)

    def forward(self, x: Tensor) -> Tensor:
        channels = x.shape[1]
        kernel = self.kernel.to(x.dtype).expand(channels, -1, -1, -1)
        return F.conv2d(x, kernel, stride=2, padding=1, groups=channels)  # (B, C, h/2, w/2)


class ResidualDown(nn.Module):
    """The residual block of StyleGAN2's discriminator: halves the map and changes its width.

    Args:
        in_width: Channels that come in.
        out_width: Channels that go out.
        downsample: Builds the layer that halves a map.
    """

    def __init__(self, in_width: int, out_width: int, downsample: Callable[[], nn.Module]) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_width, in_width, 3, padding=1)
        self.conv2 = nn.Conv2d(in_width, out_width, 3, padding=1)
        self.skip = nn.Conv2d(in_width, out_width, 1, bias=False)
        self.downsample = downsample()

    def forward(self, x: Tensor) -> Tensor:
        branch = self.downsample(F.leaky_relu(self.conv1(x), 0.2))  # (B, C, h/2, w/2)
        branch = F.leaky_relu(self.conv2(branch), 0.2)  # (B, C', h/2, w/2)
        return (self.skip(self.downsample(x)) + branch) / math.sqrt(2)  # keeps the variance of the sum


class StyleGANDiscriminator(Discriminator):
    """The StyleGAN-type discriminator of MAGVIT, one logit a picture.

    conv 3×3 → one ``ResidualDown`` a multiplier, down to a 4×4 map → conv 3×3 → dense → dense, leaky ReLU 0.2 in
    between; Xavier initialisation, no norm, no minibatch statistics. 24.19 M parameters at 256² with the defaults and
    24.23 M at 512² with multipliers 0.5, 1, 2, 4, 4, 4, 4. Source: the discriminator in MAGVIT's public code.

    Args:
        sizes: Gives the image size, which must be 4 · 2^(number of multipliers).
        base_width: Channels of the first convolution.
        multipliers: Width of each block as a multiple of ``base_width``.
        downsample: Builds the layer that halves a map: ``AveragePool`` or ``BlurPool``.
    """

    def __init__(
        self,
        sizes: Sizes,
        base_width: int = 128,
        multipliers: Sequence[float] = (1, 2, 4, 4, 4, 4),
        downsample: Callable[[], nn.Module] = AveragePool,
    ) -> None:
        super().__init__()
        final = 4
        if sizes.image_size != final * 2 ** len(multipliers):
            raise ValueError(
                f"{len(multipliers)} multipliers halve an image of {final * 2 ** len(multipliers)} pixels to 4, but "
                f"image_size is {sizes.image_size}: give log2(image_size / 4) multipliers"
            )
        widths = [int(base_width * multiplier) for multiplier in multipliers]
        if min([base_width, *widths]) < 1:
            raise ValueError(f"base_width {base_width} with multipliers {tuple(multipliers)} gives a block no channels")
        ins = [base_width, *widths[:-1]]
        last = widths[-1]
        self.stem = nn.Conv2d(3, base_width, 3, padding=1)
        self.blocks = nn.Sequential(*(ResidualDown(i, o, downsample) for i, o in zip(ins, widths)))
        self.conv = nn.Conv2d(last, last, 3, padding=1)
        self.dense = nn.Linear(last * final * final, last)
        self.head = nn.Linear(last, 1)
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d | nn.Linear):
                nn.init.xavier_uniform_(layer.weight)
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)

    def forward(self, images: Tensor) -> Tensor:
        x = F.leaky_relu(self.stem(images), 0.2)  # (B, base_width, H, W)
        x = self.blocks(x)  # (B, C, 4, 4)
        x = F.leaky_relu(self.conv(x), 0.2)
        x = F.leaky_relu(self.dense(x.flatten(1)), 0.2)  # (B, C)
        return self.head(x).squeeze(1)  # (B,)


class PatchGANDiscriminator(Discriminator):
    """The PatchGAN of pix2pix, which judges overlapping patches: a map of logits a picture.

    4×4 convolutions with stride 2, then two with stride 1. Where pix2pix and VQGAN put batch norm this has group norm
    (16 channels a group): batch norm ties a logit to its batch mates, which R1 forbids, and to the batch on one rank.

    Args:
        sizes: Gives the image size.
        width: Channels of the first convolution, a multiple of 8; they double with each layer up to 8 times.
        num_layers: Convolutions with stride 2; three see patches of 70 pixels.
    """

    def __init__(self, sizes: Sizes, width: int = 64, num_layers: int = 3) -> None:
        super().__init__()
        if num_layers < 1:
            raise ValueError(f"num_layers must be at least 1, got {num_layers}")
        if width < 1 or width % 8:
            raise ValueError(f"width must be a positive multiple of 8, got {width}")
        if sizes.image_size // 2**num_layers < 3:
            raise ValueError(
                f"image_size {sizes.image_size} is too small for {num_layers} layers of stride 2: it must be at least "
                f"{3 * 2**num_layers}; lower num_layers"
            )
        widths = [width * min(2**i, 8) for i in range(num_layers + 1)]
        layers: list[nn.Module] = [nn.Conv2d(3, width, 4, stride=2, padding=1), nn.LeakyReLU(0.2)]
        for i in range(1, num_layers + 1):
            layers += [
                # The norm's shift takes the place of a bias.
                nn.Conv2d(widths[i - 1], widths[i], 4, stride=2 if i < num_layers else 1, padding=1, bias=False),
                nn.GroupNorm(widths[i] // 16, widths[i]),
                nn.LeakyReLU(0.2),
            ]
        layers.append(nn.Conv2d(widths[-1], 1, 4, padding=1))
        self.layers = nn.Sequential(*layers)
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.normal_(layer.weight, std=0.02)  # pix2pix
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)

    def forward(self, images: Tensor) -> Tensor:
        return self.layers(images)  # (B, 1, h, w)

"""Floating-point operations of a training step an image, counted by torch on the meta device.

The frozen networks (text encoder, perceptual network) are not counted: they are not what is trained. On a CPU torch's
counter does not see fused attention, hence the meta device, which also costs neither time nor memory.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from textok.types import Condition, Sizes, TextTokens


def meta_inputs(sizes: Sizes) -> tuple[Tensor, TextTokens | None, Tensor]:
    """One image, its text tokens (None without an encoder) and its label, on the meta device."""
    image = torch.empty(1, 3, sizes.image_size, sizes.image_size, device="meta")
    label = torch.empty(1, dtype=torch.int64, device="meta")
    if not sizes.text_dim:
        return image, None, label
    tokens = torch.empty(1, sizes.num_text_tokens, sizes.text_dim, device="meta")
    return image, TextTokens(tokens, torch.empty(tokens.shape[:2], dtype=torch.bool, device="meta")), label


def tokenizer_flops(
    sizes: Sizes,
    make_textok: Callable[[Sizes], nn.Module],
    make_discriminator: Callable[[Sizes], nn.Module] | None,
    r1_every: int | None = None,
) -> float:
    """FLOPs of one stage-1 step on one image: both halves, and the discriminator's passes where there is one.

    Args:
        sizes: What the data and the text encoder dictate.
        make_textok: Factory of the pair.
        make_discriminator: Factory of the discriminator; None while it does not play.
        r1_every: Steps between two gradient penalties, whose cost is spread over them; None for no penalty.
    """
    with torch.device("meta"):
        textok = make_textok(sizes)
        discriminator = make_discriminator(sizes) if make_discriminator is not None else None
    image, text, label = meta_inputs(sizes)
    with FlopCounterMode(display=False) as counter:
        fake = textok(image, text, label)[0]
        loss = fake.sum()
        if discriminator is not None:
            discriminator.requires_grad_(False)
            loss = loss + discriminator(fake).sum()
        loss.backward()
        if discriminator is not None:
            discriminator.requires_grad_(True)
            (discriminator(image).sum() + discriminator(fake.detach()).sum()).backward()
    total = float(counter.get_total_flops())
    if discriminator is not None and r1_every is not None:
        total += _penalty_flops(discriminator, image) / r1_every
    return total


def _penalty_flops(discriminator: nn.Module, image: Tensor) -> float:
    """FLOPs of a gradient penalty: a forward, a backward to the image, and a backward of both."""
    # Not a leaf: the counter's hooks refuse ``autograd.grad`` on leaves.
    image = image.requires_grad_(True).clone()
    with FlopCounterMode(display=False) as counter:
        torch.autograd.grad(discriminator(image).sum(), image, create_graph=True)[0].square().sum().backward()
    return float(counter.get_total_flops())


def generator_flops(
    sizes: Sizes, make_textok: Callable[[Sizes], nn.Module], make_dit: Callable[[nn.Module], nn.Module]
) -> float:
    """FLOPs of one stage-2 step on one image: the frozen tokenizer's forward, the DiT's forward and backward."""
    with torch.device("meta"):
        textok = make_textok(sizes)
        dit = make_dit(textok)
    image, text, label = meta_inputs(sizes)
    with FlopCounterMode(display=False) as counter:
        with torch.no_grad():
            latents = textok.encode(image, text, label)
        time = torch.empty(1, device="meta")
        dit(latents, time, Condition(label=label, text=text)).sum().backward()
    return float(counter.get_total_flops())

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
    with_r1: bool,
) -> float:
    """FLOPs of one stage-1 step on one image: both halves, and the discriminator's three passes where there is one."""
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
            real = image.requires_grad_(with_r1)
            logits = discriminator(real).sum()
            loss = logits + discriminator(fake.detach()).sum()
            if with_r1:
                loss = loss + torch.autograd.grad(logits, real, create_graph=True)[0].square().sum()
            loss.backward()
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

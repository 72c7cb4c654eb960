"""Floating-point operations of a training step an image, by part: what is trained, and the frozen networks beside it.

Trained parts are counted by ``textok.modules.flops``, the frozen ones here, all by torch's counter on the meta device.
A multiply-accumulate (MAC) is two operations.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from textok.modules import GeneratorModule, TokenizerModule, TrainingModule
from textok.modules.flops import meta_inputs, tokenizer_flops
from textok.planning.outlines import give_outline, text_encoder_outline
from textok.types import Condition

PAIR, DISCRIMINATOR, PENALTY = "pair", "discriminator", "gradient penalty"
PERCEPTUAL, TEXT_ENCODER = "perceptual network", "text encoder"


@dataclass(frozen=True)
class Part:
    """A network and what it costs.

    Args:
        name: What it is.
        parameters: Its number of parameters.
        trained: Whether training moves them.
        forward: FLOPs of a forward on one image; None where it could not be counted.
        step: FLOPs of a training step an image; None where it could not be counted.
        dtype: In what it computes, whatever the training's precision; None follows that.
        convolutional: Whether it consists of convolutions, which GPUs compute in TF32 where others take float32.
    """

    name: str
    parameters: int
    trained: bool
    forward: float | None
    step: float | None
    dtype: torch.dtype | None = None
    convolutional: bool = False


@dataclass(frozen=True)
class Phase:
    """Steps of a run that cost the same.

    Args:
        name: What distinguishes them.
        steps: How many.
        parts: Names of the parts that take part.
    """

    name: str
    steps: int
    parts: tuple[str, ...]


def parts_of(module: TrainingModule) -> list[Part]:
    """Everything that a training step runs, from a module on the meta device."""
    own = _tokenizer_parts(module) if isinstance(module, TokenizerModule) else _generator_parts(module)
    return [*own, *_text_encoder_part(module)]


def phases_of(module: TrainingModule, parts: list[Part], max_steps: int) -> list[Phase]:
    """What a run goes through: stage 1 costs more once its discriminator plays."""
    names = tuple(part.name for part in parts)
    if not isinstance(module, TokenizerModule) or module.discriminator is None:
        return [Phase("all steps", max_steps, names)]
    start = min(module.stage.start, max_steps)
    alone = tuple(name for name in names if name not in (DISCRIMINATOR, PENALTY))
    phases = [Phase("without discriminator", start, alone), Phase("with discriminator", max_steps - start, names)]
    return [phase for phase in phases if phase.steps]


def count(call: Callable[[], object]) -> float:
    """FLOPs of a call on the meta device."""
    with FlopCounterMode(display=False) as counter:
        call()
    return float(counter.get_total_flops())


def _tokenizer_parts(module: TokenizerModule) -> list[Part]:
    image, text, label = meta_inputs(module.sizes)
    pair = module.textok
    alone = tokenizer_flops(module.sizes, module.make_textok, None)
    with torch.no_grad():
        forward = count(lambda: pair(image, text, label))
    parts = [Part(PAIR, size_of(pair), True, forward, alone)]
    if module.discriminator is not None:
        both = tokenizer_flops(module.sizes, module.make_textok, module.make_discriminator)
        with torch.no_grad():
            forward = count(lambda: module.discriminator(image))
        size = size_of(module.discriminator)
        parts.append(Part(DISCRIMINATOR, size, True, forward, both - alone, convolutional=True))
        if module.r1 is not None:
            every = module.r1.every
            total = tokenizer_flops(module.sizes, module.make_textok, module.make_discriminator, every)
            # R1 leaves autocast: squares of gradients need float32.
            parts.append(Part(PENALTY, 0, True, None, total - both, torch.float32, convolutional=True))
    if module.perceptual is not None:
        parts.append(_perceptual_part(module, image))
    return parts


def _perceptual_part(module: TokenizerModule, image: Tensor) -> Part:
    perceptual = module.perceptual
    if not give_outline(perceptual):
        return Part(PERCEPTUAL, 0, False, None, None)
    networks = [part.network.to("meta") for part in perceptual.modules() if getattr(part, "is_loaded", False)]

    def step() -> None:
        # Not a leaf: the counter's hooks refuse those that are differentiated.
        fake = image.clone().requires_grad_(True).clone()
        perceptual(fake, image).backward()

    with torch.no_grad():
        forward = count(lambda: perceptual.features(image))
    return Part(PERCEPTUAL, sum(map(size_of, networks)), False, forward, count(step), convolutional=True)


def _generator_parts(module: GeneratorModule) -> list[Part]:
    image, text, label = meta_inputs(module.sizes)
    pair, dit = module.textok, module.dit
    with torch.no_grad():
        encode = count(lambda: pair.encode(image, text, label))
        latents, time = pair.encode(image, text, label), torch.empty(1, device="meta")
        forward = count(lambda: dit(latents, time, Condition(label=label, text=text)))
        both_ways = count(lambda: pair(image, text, label))
    whole = module.flops_per_image()
    return [
        Part("DiT", size_of(dit), True, forward, whole - encode),
        Part(PAIR, size_of(pair), False, both_ways, encode),
    ]


def _text_encoder_part(module: TrainingModule) -> list[Part]:
    encoder = module.text_encoder
    if encoder is None or not module.needs_text:
        return []
    with torch.device("meta"):
        network = text_encoder_outline(encoder)
        if network is None:
            return [Part(TEXT_ENCODER, 0, False, None, None)]
        ids = torch.zeros(1, encoder.num_tokens, dtype=torch.long)
    with torch.no_grad():
        flops = count(lambda: network(input_ids=ids))  # a mask's values cannot be read here; padding costs the same
    return [Part(TEXT_ENCODER, size_of(network), False, flops, flops, encoder.dtype)]


def size_of(network: nn.Module) -> int:
    """Number of a network's parameters."""
    return sum(parameter.numel() for parameter in network.parameters())

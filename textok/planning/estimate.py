"""What a configuration costs: work, memory, hours, storage; without data, weights or a GPU."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import torch

from textok.callbacks.throughput import training_dtype
from textok.planning.gpus import Gpu
from textok.planning.memory import Memory, ddp, fsdp, measure
from textok.planning.rehearsal import build_on_meta, trainable
from textok.planning.work import PAIR, TEXT_ENCODER, Part, Phase, parts_of, phases_of
from textok.runs.parser import TextokCLI

#: Training images of ImageNet-1k (ILSVRC 2012).
IMAGENET = 1_281_167


@dataclass(frozen=True)
class Assumptions:
    """What the configuration does not say.

    Args:
        gpu: The kind of GPU.
        devices: How many of them.
        utilisation: Share of the GPU's peak rate that training reaches.
        num_images: Images of the training set, for epochs and caches.
    """

    gpu: Gpu
    devices: int = 1
    utilisation: float = 0.4
    num_images: int = IMAGENET

    def __post_init__(self) -> None:
        if self.devices < 1:
            raise ValueError(f"--gpus must be at least 1, got {self.devices}")
        if not 0 < self.utilisation <= 1:
            raise ValueError(f"--utilisation is a share of the peak rate, in (0, 1], got {self.utilisation}")
        if self.num_images < 1:
            raise ValueError(f"--num_images must be at least 1, got {self.num_images}")


@dataclass(frozen=True)
class Estimate:
    """What ``estimate`` found; bytes, FLOPs and seconds.

    Args:
        stage: 1 or 2.
        precision: Lightning's name for the training's precision.
        batch_size: Images of a micro-batch on one device.
        accumulate: Micro-batches of a step.
        max_steps: Steps of the run.
        parts: The networks and their work an image.
        phases: Steps that cost the same.
        memory: Memory of a device by strategy: single, ddp, fsdp.
        memory_checkpointed: The same where each transformer block keeps its input alone.
        checkpoint_bytes: Size of a checkpoint: weights, averages, optimisers, and in stage 2 the frozen pair.
        text_cache_bytes: Text tokens of a caption for each image in the encoder's precision, without padding; at most.
        latent_cache_bytes: Latents of each image in float32.
        assumptions: What the configuration does not say.
    """

    stage: int
    precision: str
    batch_size: int
    accumulate: int
    max_steps: int
    parts: list[Part]
    phases: list[Phase]
    memory: dict[str, Memory]
    memory_checkpointed: dict[str, Memory]
    checkpoint_bytes: int
    text_cache_bytes: int
    latent_cache_bytes: int
    assumptions: Assumptions

    @property
    def images_per_step(self) -> int:
        return self.batch_size * self.accumulate * self.assumptions.devices

    @property
    def epochs(self) -> float:
        return self.max_steps * self.images_per_step / self.assumptions.num_images

    def step_flops(self, phase: Phase) -> float:
        """FLOPs of a step of all devices."""
        return self.images_per_step * sum(part.step or 0.0 for part in self.parts if part.name in phase.parts)

    def image_seconds(self, part: Part) -> float:
        """Seconds that one device spends on a part for one image."""
        dtype = part.dtype or training_dtype(self.precision)
        rate = self.assumptions.gpu.rate(dtype, part.convolutional) * self.assumptions.utilisation
        return (part.step or 0.0) / rate

    def step_seconds(self, phase: Phase, without: tuple[str, ...] = ()) -> float:
        """Seconds of a step, by calculation alone: waiting for data and for other devices is not in it."""
        used = [part for part in self.parts if part.name in phase.parts and part.name not in without]
        return self.batch_size * self.accumulate * sum(map(self.image_seconds, used))

    def hours(self, without: tuple[str, ...] = ()) -> float:
        """Hours of the whole run."""
        return sum(phase.steps * self.step_seconds(phase, without) for phase in self.phases) / 3600

    @property
    def savings(self) -> dict[str, tuple[str, ...]]:
        """What caches spare: a name and the parts that need not run."""
        found = {}
        if any(part.name == TEXT_ENCODER for part in self.parts):
            found["text tokens from a cache"] = (TEXT_ENCODER,)
        if self.stage == 2:
            # A DiT that reads captions would still need their tokens, from a cache.
            found["latents from a cache"] = (TEXT_ENCODER, PAIR)
        return found

    @property
    def uncounted(self) -> list[str]:
        """Parts whose shape could not be found, and which no number here includes."""
        return [part.name for part in self.parts if part.step is None]

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        told = asdict(self)
        for part in told["parts"]:
            part["dtype"] = None if part["dtype"] is None else str(part["dtype"]).removeprefix("torch.")
        for name in ("memory", "memory_checkpointed"):
            for strategy, memory in getattr(self, name).items():
                told[name][strategy]["total"] = memory.total
        for phase, row in zip(self.phases, told["phases"], strict=True):
            row |= {"step_flops": self.step_flops(phase), "step_seconds": self.step_seconds(phase)}
        told |= {"images_per_step": self.images_per_step, "epochs": self.epochs, "uncounted": self.uncounted}
        told["hours"] = {"everything in the step": self.hours()} | {
            name: self.hours(without) for name, without in self.savings.items()
        }
        told["gpu_hours"] = {name: hours * self.assumptions.devices for name, hours in told["hours"].items()}
        return told


def estimate(cli: TextokCLI, assumptions: Assumptions) -> Estimate:
    """The costs of a parsed configuration.

    Args:
        cli: The configuration, parsed with ``run=False``.
        assumptions: What it does not say.

    Raises:
        ValueError: If the model cannot be built, or the run has no length.
    """
    max_steps = cli.config.trainer.max_steps
    if max_steps < 1:
        raise ValueError(f"trainer.max_steps must be set (the run's length), got {max_steps}")
    module = build_on_meta(cli)
    encoder, pair = module.text_encoder, module.textok
    batch_size = cli.config.data.init_args.batch_size
    parts = parts_of(module)
    memory, shares = measure(cli, batch_size)
    slim, _ = measure(cli, batch_size, checkpointing=True)
    reads_text = encoder is not None and module.needs_text
    token = encoder.dim * encoder.dtype.itemsize if reads_text else 0
    latents = pair.num_latents * pair.latent_dim * torch.float32.itemsize

    def strategies(whole: Memory) -> dict[str, Memory]:
        devices = assumptions.devices
        return {"single": whole, "ddp": ddp(whole, devices), "fsdp": fsdp(whole, shares, devices)}

    return Estimate(
        stage=2 if hasattr(module, "dit") else 1,
        precision=trainable(cli.config.trainer.precision),
        batch_size=batch_size,
        accumulate=module.accumulate,
        max_steps=max_steps,
        parts=parts,
        phases=phases_of(module, parts, max_steps),
        memory=strategies(memory),
        memory_checkpointed=strategies(slim),
        checkpoint_bytes=sum(t.nbytes for t in module.state_dict().values()) + memory.optimizer,
        text_cache_bytes=assumptions.num_images * token * (encoder.num_tokens if reads_text else 0),
        latent_cache_bytes=assumptions.num_images * latents,
        assumptions=assumptions,
    )

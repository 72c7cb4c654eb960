"""Memory of one device in training, by what holds it and by strategy."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import nn

from textok.modules import TrainingModule
from textok.modules.blocks import checkpoint_block
from textok.planning.outlines import text_encoder_outline
from textok.planning.rehearsal import build_on_meta, fake_batch, rehearsal, step, trainable
from textok.runs.parser import TextokCLI


@dataclass(frozen=True)
class Memory:
    """Bytes on one device at the peak of a training step.

    Args:
        weights: Of what is trained: the pair or the DiT, and the discriminator.
        gradients: Of the same.
        optimizer: State of the optimisers.
        averages: The replica with the averaged weights.
        frozen: The text encoder, the perceptual network, and in stage 2 the pair.
        communication: Buckets of DDP; gathered weights and whole gradients of FSDP.
        activations: All else that is alive at the peak: the batch, what the backward pass needs, temporaries.
    """

    weights: int
    gradients: int
    optimizer: int
    averages: int
    frozen: int
    communication: int
    activations: int

    @property
    def total(self) -> int:
        return sum(vars(self).values())


@dataclass(frozen=True)
class Shares:
    """How much of a device's memory a strategy can shard, in bytes of one whole copy.

    Args:
        sharded: Trained weights that FSDP shards, all but the discriminator.
        largest_block: The largest transformer block among them.
        outside: Those outside of the blocks, which FSDP gathers for the whole step.
        optimizer: The optimiser's state of the sharded weights.
    """

    sharded: int
    largest_block: int
    outside: int
    optimizer: int


def measure(cli: TextokCLI, batch_size: int, checkpointing: bool = False) -> tuple[Memory, Shares]:
    """Memory of a training step on one device, everything whole.

    Args:
        cli: The parsed configuration.
        batch_size: Images of a micro-batch.
        checkpointing: Whether each transformer block keeps its input alone.
    """
    module = build_on_meta(cli)
    encoder = text_encoder_bytes(module)
    trainer = cli.config.trainer
    with rehearsal(module, trainable(trainer.precision), max(trainer.max_steps, 1)) as live:
        if checkpointing:
            for block in module.blocks():
                checkpoint_block(block)
        trained = module.trained
        weights = sum(p.nbytes for p in module.parameters() if p.requires_grad)
        averages = bytes_of(module.ema)
        static = live.now
        batch = fake_batch(module.sizes, batch_size, module.needs_text)
        state, peak = step(module, batch, live)
        shares = _shares(module, trained, state, weights)
    memory = Memory(
        weights=weights,
        gradients=weights,
        optimizer=state,
        averages=averages,
        frozen=static - weights - averages + encoder,
        communication=0,
        activations=peak - static - state - weights,
    )
    return memory, shares


def _shares(module: TrainingModule, trained: nn.Module, state: int, weights: int) -> Shares:
    whole = sum(p.nbytes for p in trained.parameters())
    blocks = [bytes_of(block) for block in module.blocks()]
    return Shares(whole, max(blocks, default=0), whole - sum(blocks), round(state * whole / weights))


def ddp(memory: Memory, devices: int) -> Memory:
    """One of several replicas: Lightning's DDP keeps a second copy of the gradients in its buckets."""
    return replace(memory, communication=memory.gradients) if devices > 1 else memory


def fsdp(memory: Memory, shares: Shares, devices: int) -> Memory:
    """One of several shards (FSDP2, a unit a transformer block; discriminator and frozen networks stay whole).

    Weights, gradients, optimiser state and averages shrink to a share. Gathered at the peak are two blocks (the one at
    work and the next) and what lies outside of all blocks, each with its whole gradient before it is scattered.
    """
    if devices == 1:
        return memory

    def shard(bytes_: int, part: int) -> int:
        return bytes_ - part + -(-part // devices)

    return replace(
        memory,
        weights=shard(memory.weights, shares.sharded),
        gradients=shard(memory.gradients, shares.sharded),
        optimizer=shard(memory.optimizer, shares.optimizer),
        averages=shard(memory.averages, memory.averages),
        communication=2 * (2 * shares.largest_block + shares.outside),
    )


def text_encoder_bytes(module: TrainingModule) -> int:
    """Bytes of the text encoder's weights; 0 where no half reads captions or its shape is not on disk."""
    if module.text_encoder is None or not module.needs_text:
        return 0
    with torch.device("meta"):
        network = text_encoder_outline(module.text_encoder)
    return 0 if network is None else bytes_of(network)


def bytes_of(network: nn.Module) -> int:
    """Bytes of a network's parameters and buffers."""
    return sum(t.nbytes for t in (*network.parameters(), *network.buffers()))

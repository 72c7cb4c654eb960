"""Memory of one device in training, by what holds it and by strategy."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import nn

from textok.models.text_encoder import blocks_of
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
        encoder: Weights of the text encoder, where it is sharded.
        encoder_gathered: Those of them that are whole at once: two blocks, and what lies outside of them.
    """

    sharded: int
    largest_block: int
    outside: int
    optimizer: int
    encoder: int = 0
    encoder_gathered: int = 0


def measure(cli: TextokCLI, batch_size: int, checkpointing: bool = False) -> tuple[Memory, Shares]:
    """Memory of a training step on one device, everything whole.

    Args:
        cli: The parsed configuration.
        batch_size: Images of a micro-batch.
        checkpointing: Whether each transformer block keeps its input alone.
    """
    module = build_on_meta(cli)
    encoder = text_encoder_network(module)
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
        shares = _shares(module, trained, state, weights, encoder)
    memory = Memory(
        weights=weights,
        gradients=weights,
        optimizer=state,
        averages=averages,
        frozen=static - weights - averages + bytes_of(encoder),
        communication=0,
        activations=peak - static - state - weights,
    )
    return memory, shares


def _shares(module: TrainingModule, trained: nn.Module, state: int, weights: int, encoder: nn.Module) -> Shares:
    whole = sum(p.nbytes for p in trained.parameters())
    blocks = [bytes_of(block) for block in module.blocks()]
    shares = Shares(whole, max(blocks, default=0), whole - sum(blocks), round(state * whole / weights))
    if not module.shard_text_encoder:
        return shares
    text, blocks = bytes_of(encoder), [bytes_of(block) for block in blocks_of(encoder)]
    return replace(shares, encoder=text, encoder_gathered=2 * max(blocks, default=0) + text - sum(blocks))


def ddp(memory: Memory, devices: int) -> Memory:
    """One of several replicas: Lightning's DDP keeps a second copy of the gradients in its buckets."""
    return replace(memory, communication=memory.gradients) if devices > 1 else memory


def fsdp(memory: Memory, shares: Shares, devices: int) -> Memory:
    """One of several shards (FSDP2, a unit a transformer block); discriminator and other frozen networks stay whole.

    Weights, gradients, optimiser state and averages shrink to a share. Gathered at the peak are two blocks (the one at
    work and the next) and what lies outside of all blocks, each with its whole gradient before it is scattered. A
    sharded text encoder is done before the pair or the DiT begins, so what the greater of the two gathers counts.
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
        frozen=shard(memory.frozen, shares.encoder),
        communication=max(2 * (2 * shares.largest_block + shares.outside), shares.encoder_gathered),
    )


def text_encoder_network(module: TrainingModule) -> nn.Module:
    """The text encoder on the meta device; an empty module where nobody reads captions or its shape is not on disk."""
    if module.text_encoder is None or not module.needs_text:
        return nn.Module()
    with torch.device("meta"):
        return text_encoder_outline(module.text_encoder) or nn.Module()


def bytes_of(network: nn.Module) -> int:
    """Bytes of a network's parameters and buffers."""
    return sum(t.nbytes for t in (*network.parameters(), *network.buffers()))

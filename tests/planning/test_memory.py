"""Estimated memory against what a real step on a CPU allocates, and how strategies share it."""

from dataclasses import replace

import pytest
import torch
from lightning.pytorch import Callback, Trainer
from torch.profiler import ProfilerActivity, profile

from textok.frozen import Frozen
from textok.modules import GeneratorModule
from textok.planning.memory import Memory, Shares, ddp, fsdp, measure

NO_WARMUP = "--model.init_args.schedule.init_args.warmup_steps=0"
ALL_TERMS = ["--model.init_args.stage.start=0", "--model.init_args.stage.warmup=0"]
#: Name → entry point, further files, options: with text, discriminator and R1 every step; without; stage 2.
CASES = {
    "stage 1, all on": ("tokenizer", (), [*ALL_TERMS, NO_WARMUP, "--model.init_args.r1.init_args.every=1"]),
    "stage 1, pair alone in bf16": (
        "tokenizer",
        ("conditioning/none",),
        [
            "--model.init_args.discriminator=null",
            "--model.init_args.perceptual=null",
            "--data.init_args.batch_size=64",
            "--trainer.precision=bf16-mixed",
            NO_WARMUP,
        ],
    ),
    "stage 2": ("generator", ("conditioning/none",), [NO_WARMUP, "--data.init_args.batch_size=64"]),
}


class PeakOfThirdStep(Callback):
    """Bytes at the peak of the third step, by torch's own profiler of the CPU's allocator."""

    peak = 0

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        if batch_idx != 2:
            return
        self.static = allocated_before(trainer, pl_module, batch)
        self.profiler = profile(activities=[ProfilerActivity.CPU], profile_memory=True)
        self.profiler.__enter__()

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        if batch_idx != 2:
            return
        self.profiler.__exit__(None, None, None)
        events = [event for event in self.profiler.profiler.kineto_results.events() if event.name() == "[memory]"]
        now = self.peak = self.static
        for event in sorted(events, key=lambda event: event.start_ns()):
            now += event.nbytes()
            self.peak = max(self.peak, now)


def allocated_before(trainer, module, batch):
    """Bytes of weights, averages, optimisers' state, frozen networks and the batch."""
    tensors = [*module.parameters(), *module.buffers()]
    for part in module.modules():
        if isinstance(part, Frozen) and part.is_loaded:
            tensors += [*part.network.parameters(), *part.network.buffers()]
    for optimizer in trainer.optimizers:
        tensors += [value for entry in optimizer.state.values() for value in entry.values()]
    tensors += [value for value in vars(batch).values() if isinstance(value, torch.Tensor)]
    storages = {tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes() for tensor in tensors}
    return sum(storages.values())


@pytest.mark.parametrize("case", CASES)
def test_memory_is_what_a_real_step_allocates(case, parsed, tmp_path):
    entry, more, options = CASES[case]
    cli = parsed(entry, *options, more=more)
    module, data, measured = cli.build_model(), cli.build_data(), PeakOfThirdStep()
    if isinstance(module, GeneratorModule):
        module.normalizer.fit([torch.randn(8, module.textok.num_latents, module.textok.latent_dim)])
    trainer = Trainer(
        accelerator="cpu",
        devices=1,
        max_steps=3,
        precision=cli.config.trainer.precision,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        limit_val_batches=0,
        use_distributed_sampler=False,
        callbacks=[measured],
        default_root_dir=tmp_path,
    )
    trainer.fit(module, datamodule=data)
    memory, _ = measure(cli, cli.config.data.init_args.batch_size)
    assert measured.peak > measured.static
    assert memory.total == pytest.approx(measured.peak, rel=0.15)
    # The part that weights do not explain, too: it is what a formula would get wrong.
    dynamic = memory.gradients + memory.activations
    assert dynamic == pytest.approx(measured.peak - measured.static, rel=0.15)


def test_activations_grow_with_the_batch_and_shrink_with_checkpointing(parsed):
    cli = parsed("generator", more=("conditioning/none",))
    first, second, third = (measure(cli, size)[0] for size in (64, 128, 192))
    slim, _ = measure(cli, 128, checkpointing=True)
    assert first.weights == third.weights and first.optimizer == third.optimizer
    assert third.activations - second.activations == pytest.approx(second.activations - first.activations, rel=0.01)
    assert slim.activations < second.activations / 2
    assert slim.total - slim.activations == second.total - second.activations


def test_sizes_of_weights_follow_from_parameters(parsed):
    memory, shares = measure(parsed("paper tokenizer"), 1)
    pair, discriminator = 176_419_016, 24_192_385  # as published
    assert memory.weights == memory.gradients == 4 * (pair + discriminator)
    assert memory.averages == shares.sharded == 4 * pair
    # Adam: two moments, and a float32 step a tensor.
    assert memory.optimizer == pytest.approx(2 * memory.weights, rel=1e-5)


def test_a_sharded_text_encoder_is_spread(parsed):
    memory, whole = measure(parsed("paper tokenizer"), 1)
    same, shares = measure(parsed("paper tokenizer", "--model.init_args.shard_text_encoder=true"), 1)
    # The encoder of T5 v1.1 XL in bfloat16: q, k, v and o, three linear layers and two norms a block; the first one's
    # table of relative positions; outside of 24 blocks the embedding and a norm.
    block, table, outside = 4 * 2048**2 + 3 * 2048 * 5120 + 2 * 2048, 32 * 32, 32128 * 2048 + 2048
    assert same == memory and whole.encoder == 0
    assert shares.encoder == 2 * (24 * block + table + outside)
    assert shares.encoder_gathered == 2 * (2 * (block + table) + outside)
    assert fsdp(memory, whole, 8).frozen - fsdp(memory, shares, 8).frozen == shares.encoder * 7 // 8


def test_strategies_by_hand():
    memory = Memory(weights=100, gradients=100, optimizer=200, averages=80, frozen=7, communication=0, activations=50)
    shares = Shares(sharded=80, largest_block=10, outside=20, optimizer=160)
    assert ddp(memory, 1) == fsdp(memory, shares, 1) == memory
    assert ddp(memory, 4).communication == 100 and ddp(memory, 4).total == memory.total + 100
    sharded = fsdp(memory, shares, 4)
    # The discriminator's 20, 20 and 40 stay whole.
    assert (sharded.weights, sharded.gradients, sharded.optimizer, sharded.averages) == (40, 40, 80, 20)
    assert sharded.communication == 2 * (2 * 10 + 20)
    assert (sharded.frozen, sharded.activations) == (7, 50)
    # Of a text encoder of 4; the pair gathers more than it, or less.
    small, large = (replace(shares, encoder=4, encoder_gathered=gathered) for gathered in (60, 90))
    assert fsdp(memory, small, 4) == replace(sharded, frozen=3 + 1)
    assert fsdp(memory, large, 4) == replace(sharded, frozen=3 + 1, communication=90)

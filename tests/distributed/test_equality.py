"""What is equal to what: processes, micro-batches and strategies change how a step is computed, not what it is.

pytest tests/distributed/test_equality.py -m slow -n 0 -s     prints the table of docs/distributed.md
"""

from functools import partial

import pytest
import torch
import torch.distributed as dist
from fits import Fit, ddp, fsdp, largest_differences, run, run_on
from lightning.pytorch import Callback

from textok.losses import R1, L2Loss
from textok.modules import AdversarialStage

pytestmark = pytest.mark.slow

#: Bounds of the differences in losses (relative) and in weights (absolute): float64 and float32.
BOUNDS = {True: 1e-9, False: 1e-4}


def compare(name, double, one, other, capsys):
    losses, weights = largest_differences(one, other)
    with capsys.disabled():
        kind = "float64" if double else "float32"
        print(f"\n| {name:<60} | {kind} | {losses:.1e} | {weights:.1e} |", end="")
    assert losses <= BOUNDS[double] and weights <= BOUNDS[double]


def moved(result, start):
    """Whether every network of a run, its averages too, has learned something."""
    kinds = {name.split(".")[0] for name in start.state}
    learning = {"dit", "ema"} if "dit" in kinds else {"textok", "ema", "discriminator", "lecam"}
    return all(
        any(not torch.equal(result.state[n], start.state[n]) for n in start.state if n.startswith(f"{kind}."))
        for kind in learning
    )


@pytest.mark.parametrize("double", [True, False], ids=["float64", "float32"])
@pytest.mark.parametrize("stage", ["tokenizer", "generator"])
def test_two_processes_and_micro_batches(stage, double, t5_folder, tmp_path, capsys):
    fit = partial(Fit, t5_folder, stage, double=double)
    # LeCAM squares the means of a batch: under accumulation those of the micro-batches.
    plain = {"choices": {"lecam": None}} if stage == "tokenizer" else {}
    fits = [fit(batch_size=4, strategy=ddp), fit(batch_size=2, accumulate=2, strategy=ddp, **plain)]
    two, four = run_on(2, fits, tmp_path)
    one, whole = run(fit(batch_size=8)), run(fit(batch_size=8, **plain))
    halves = run(fit(batch_size=4, accumulate=2, **plain))
    compare(f"{stage}: 2 processes (DDP) of 4 = 1 process of 8", double, one, two, capsys)
    compare(f"{stage}: 2 micro-batches of 4 = 1 batch of 8", double, whole, halves, capsys)
    compare(f"{stage}: 2 processes (DDP) of 2 x 2 = 1 batch of 8", double, whole, four, capsys)
    assert moved(one, run(fit(batch_size=8, stop=2)))


def test_the_adaptive_weight_and_a_fused_optimizer(t5_folder, tmp_path, capsys):
    fused = partial(torch.optim.Adam, lr=1e-3, betas=(0.0, 0.99), fused=True)
    choices = {"stage": AdversarialStage(start=0, adaptive=True), "r1": R1(), "optimizer": fused}
    fit = partial(Fit, t5_folder, choices=choices | {"discriminator_optimizer": fused})
    one = run(fit(batch_size=8))
    (two,) = run_on(2, [fit(batch_size=4, strategy=ddp)], tmp_path)
    assert all("train/adaptive_weight" in step for step in one.losses)
    compare("tokenizer: the same with adaptive weight and fused Adam", True, one, two, capsys)


class OtherFirstWeights(Callback):
    """Each process has drawn first weights of its own for the discriminator, as without a common seed."""

    def on_fit_start(self, trainer, module):
        with torch.no_grad():
            for value in module.discriminator.parameters():
                value.add_(trainer.global_rank)


@pytest.mark.parametrize("strategy", [ddp, fsdp])
def test_processes_start_from_the_same_discriminator(strategy, t5_folder, tmp_path, capsys):
    fit = partial(Fit, t5_folder, callbacks=[OtherFirstWeights()])
    one = run(fit(batch_size=8))
    (two,) = run_on(2, [fit(batch_size=4, strategy=strategy)], tmp_path)
    compare(f"tokenizer: other first weights on each process ({strategy.__name__})", True, one, two, capsys)


@pytest.mark.parametrize("double", [True, False], ids=["float64", "float32"])
@pytest.mark.parametrize("stage", ["tokenizer", "generator"])
def test_sharded_weights(stage, double, t5_folder, tmp_path, capsys):
    fused = {"optimizer": partial(torch.optim.AdamW, lr=1e-3, fused=True)}
    fit = partial(Fit, t5_folder, stage, double=double)
    fits = [fit(batch_size=4, strategy=strategy) for strategy in (ddp, fsdp)]
    fits += [fit(batch_size=2, accumulate=2, strategy=strategy, choices=fused) for strategy in (ddp, fsdp)]
    plain, sharded, plain_halves, sharded_halves = run_on(2, fits, tmp_path)
    compare(f"{stage}: FSDP on 2 processes = DDP on 2", double, plain, sharded, capsys)
    compare(f"{stage}: the same with 2 micro-batches, fused AdamW", double, plain_halves, sharded_halves, capsys)
    assert sharded.sharded and not plain.sharded


class BrokenOnOneRank(L2Loss):
    """L2 whose value is NaN at its second call on the last process."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def forward(self, reconstruction, image):
        self.calls += 1
        broken = self.calls == 2 and dist.get_rank() == dist.get_world_size() - 1
        return super().forward(reconstruction, image) * (float("nan") if broken else 1.0)


@pytest.mark.parametrize("fused", [False, True])
def test_a_step_that_breaks_on_one_process_is_skipped_on_all(fused, t5_folder, tmp_path, capsys):
    adam = partial(torch.optim.Adam, lr=1e-3, fused=fused)
    fits = [
        Fit(t5_folder, strategy=strategy, choices={"reconstruction": BrokenOnOneRank(), "optimizer": adam})
        for strategy in (ddp, fsdp)
    ]
    plain, sharded = run_on(2, fits, tmp_path)
    assert [step["train/skipped_steps"] for step in sharded.losses] == [0, 1, 1, 1]
    plain.losses, sharded.losses = ([step for i, step in enumerate(r.losses) if i != 1] for r in (plain, sharded))
    name = f"tokenizer: FSDP = DDP, a step skipped, {'fused' if fused else 'plain'} Adam"
    compare(name, True, plain, sharded, capsys)
    assert all(value.isfinite().all() for value in sharded.state.values())

"""Half precision on one process and on several."""

from functools import partial

import pytest
import torch
from fits import Fit, Result, ddp, fsdp, run, run_on
from lightning.pytorch.plugins import MixedPrecision
from torch.multiprocessing import ProcessRaisedException

from textok.callbacks import AtomicCheckpointIO
from textok.modules import AdversarialStage

ADAMS = {"plain": {}, "fused": {"fused": True}}


def near(one: Result, other: Result) -> bool:
    """Whether two runs are the same up to the bits that half precision has."""
    return all(
        abs(a[name] - b[name]) < 0.05 * max(1.0, abs(a[name]))
        for a, b in zip(one.losses, other.losses, strict=True)
        for name in ("train/reconstruction", "train/discriminator", "train/mse")
        if name in a
    )


def half(start: float, **kwargs) -> list:
    # The trainer turns 16-mixed into bf16-mixed on a CPU, on which torch can do both: the plug-in is given by hand.
    scaler = torch.amp.GradScaler("cpu", init_scale=start, **kwargs)
    return [AtomicCheckpointIO(), MixedPrecision("16-mixed", "cpu", scaler)]


def scaled(t5_folder, start: float, adam: str = "plain", **kwargs) -> Fit:
    optimizer = partial(torch.optim.Adam, lr=1e-3, betas=(0.0, 0.99), **ADAMS[adam])
    choices = {"optimizer": optimizer, "discriminator_optimizer": optimizer, "stage": AdversarialStage(start=0)}
    return Fit(t5_folder, double=False, trainer={"plugins": half(start)}, choices=choices, **kwargs)


@pytest.mark.parametrize("adam", ADAMS)
def test_a_scaled_step_is_a_step_of_both_optimizers(adam, t5_folder):
    """Lightning would unscale twice, and change the scale between the two optimisers of a step."""
    one = run(scaled(t5_folder, 1024.0, adam))
    whole = scaled(t5_folder, 1.0, adam)
    whole.trainer = {}
    assert near(one, run(whole))
    assert one.losses[-1]["train/skipped_steps"] == 0
    assert [{int(v["step"]) for v in o["state"].values()} for o in one.optimizers] == [{4}, {4}]


def test_a_scale_that_overflows_skips_and_shrinks(t5_folder):
    fit = scaled(t5_folder, 2.0**60)
    fit.trainer = {"plugins": half(2.0**60, backoff_factor=2.0**-50)}
    result = run(fit)
    assert [step["train/skipped_steps"] for step in result.losses] == [1, 1, 1, 1]
    assert fit.trainer["plugins"][1].scaler.get_scale() == 2.0**10  # once a step, not once an optimiser
    assert [{int(v["step"]) for v in o["state"].values()} for o in result.optimizers] == [{3}, {3}]
    assert all(value.isfinite().all() for value in result.state.values())


@pytest.mark.slow
def test_half_precision_on_two_processes(t5_folder, tmp_path):
    fits, alone = [], []
    for stage in ("tokenizer", "generator"):
        fit = partial(Fit, t5_folder, stage, double=False, trainer={"precision": "bf16-mixed"})
        alone.append(run(fit(batch_size=8)))
        fits += [fit(strategy=ddp), fit(strategy=fsdp)]
    alone.append(run(scaled(t5_folder, 1024.0, batch_size=8)))
    fits.append(scaled(t5_folder, 1024.0, strategy=ddp))
    results = run_on(2, fits, tmp_path)
    for one, other in zip([alone[0], alone[0], alone[1], alone[1], alone[2]], results, strict=True):
        assert near(one, other)
        assert other.losses[-1]["train/skipped_steps"] == 0


@pytest.mark.parametrize("fault", ["stage.adaptive false.*ddp.yaml", "16-mixed.*bf16-mixed"])
def test_what_sharded_weights_cannot_do_is_refused_at_the_start(fault, t5_folder, tmp_path):
    adaptive = {"choices": {"stage": AdversarialStage(start=0, adaptive=True)}}
    choice = adaptive if "adaptive" in fault else {"trainer": {"plugins": half(1.0)}}
    fit = Fit(t5_folder, strategy=fsdp, double=False, **choice)
    with pytest.raises(ProcessRaisedException, match=fault):
        run_on(1, [fit], tmp_path)

"""Checkpoints of sharded runs: whole or in parts, for any number of processes."""

import shutil
from functools import partial

import pytest
import torch
from fits import STEPS, Fit, fsdp, largest_differences, run, run_on

from textok.callbacks import AtomicCheckpointIO
from textok.modules.weights import read_checkpoint
from textok.storage import checkpoint_damage, is_sharded

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("stage", ["tokenizer", "generator"])
def test_a_run_moves_between_one_process_and_two(stage, t5_folder, tmp_path):
    """Weights, averages and both optimisers go on as if the run had never moved."""
    alone = partial(Fit, t5_folder, stage, batch_size=8)
    shared = partial(Fit, t5_folder, stage, batch_size=4)
    undisturbed = run(alone())

    run(alone(stop=2, save=tmp_path / "one.ckpt"))
    parts = partial(fsdp, save_sharded=True)
    saved = [shared(strategy=fsdp, stop=2, save=tmp_path / "whole.ckpt")]
    saved += [shared(strategy=parts, stop=2, save=tmp_path / "parts.ckpt")]
    resumed = [shared(strategy=fsdp, resume=tmp_path / "one.ckpt")]
    resumed += [shared(strategy=parts, resume=tmp_path / "parts.ckpt")]
    _, _, *on_two = run_on(2, saved + resumed, tmp_path / "two")
    on_one = [run(alone(resume=tmp_path / name)) for name in ("whole.ckpt", "parts.ckpt")]

    assert is_sharded(tmp_path / "parts.ckpt") and not is_sharded(tmp_path / "whole.ckpt")
    for result in on_two + on_one:
        assert len(result.losses) == STEPS - 2
        result.losses = undisturbed.losses[:2] + result.losses
        losses, weights = largest_differences(undisturbed, result)
        assert losses < 1e-9 and weights < 1e-9
        for ours, theirs in zip(undisturbed.optimizers, result.optimizers, strict=True):
            for number, values in ours["state"].items():
                for name, value in values.items():
                    torch.testing.assert_close(value, theirs["state"][number][name], rtol=1e-9, atol=1e-9)


def test_stage_1_is_read_before_a_sanity_check(t5_folder, tmp_path):
    """A sharded run begins behind the restore, of a checkpoint or none; the check already reads the normaliser."""
    run(Fit(t5_folder, "tokenizer", save=tmp_path / "stage1.ckpt"))
    choices = {"tokenizer_checkpoint": tmp_path / "stage1.ckpt", "normalizer_batches": 2}
    fit = partial(Fit, t5_folder, "generator", choices=choices)
    checked = {"num_sanity_val_steps": 1, "limit_val_batches": 1}
    (sharded,) = run_on(2, [fit(strategy=fsdp, batch_size=4, trainer=checked)], tmp_path / "two")
    alone = run(fit(batch_size=8))
    assert alone.state["normalizer.fitted"] and len(sharded.losses) == STEPS
    losses, weights = largest_differences(alone, sharded)
    assert losses < 1e-9 and weights < 1e-9


def test_a_checkpoint_in_parts_is_whole_or_refused(t5_folder, tmp_path):
    path = tmp_path / "run" / "checkpoints" / "step00000002.ckpt"
    parts = partial(fsdp, save_sharded=True)
    whole = tmp_path / "whole.ckpt"
    fits = [Fit(t5_folder, strategy=parts, stop=2, save=path)] * 2  # the second one replaces the first
    run_on(2, [*fits, Fit(t5_folder, strategy=fsdp, stop=2, save=whole)], tmp_path / "two")
    assert [file.name for file in path.parent.iterdir()] == [path.name]
    assert checkpoint_damage(path) is None
    ours, theirs = read_checkpoint(path), read_checkpoint(whole)
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours["state_dict"][name], value) for name, value in theirs["state_dict"].items())

    shard = path / "shard-00001-of-00002.pt"
    damaged = bytearray(shard.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    shard.write_bytes(damaged)
    assert shard.name in checkpoint_damage(path)
    shard.unlink()
    assert "missing" in checkpoint_damage(path)
    shutil.copy(path / "common.pt", shard)
    assert "cut short" in checkpoint_damage(path)
    torch.save([{"at": ["state_dict", "x"], "part": shutil.rmtree}], shard)
    with pytest.raises(ValueError, match="more than tensors"):
        AtomicCheckpointIO().load_checkpoint(path)
    (path / "manifest.json").unlink()
    assert "manifest" in checkpoint_damage(path)

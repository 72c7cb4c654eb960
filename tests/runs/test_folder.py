"""Which checkpoint a run goes on from."""

import pytest
import torch

from textok.runs.folder import RunFolder

CONFIG = {"seed_everything": 0}


@pytest.fixture
def run(tmp_path):
    folder = RunFolder(tmp_path / "run")
    folder.claim(CONFIG)
    folder.checkpoint_folder.mkdir()
    for step in (2, 4):
        torch.save({"global_step": step}, folder.checkpoint_folder / f"step{step:08d}.ckpt")
    return folder


def test_the_newest_checkpoint_is_taken(run):
    assert run.check(CONFIG) == run.newest_checkpoint() == run.checkpoints()[-1]


def test_a_half_written_newest_checkpoint_is_passed_over_with_a_message(run):
    older, newest = run.checkpoints()
    newest.write_bytes(newest.read_bytes()[:-100])
    with pytest.warns(UserWarning, match="step00000004.ckpt is damaged"):
        assert run.check(CONFIG) == older
    assert newest.exists()


def test_a_run_whose_checkpoints_are_all_damaged_does_not_start_anew_silently(run):
    for file in run.checkpoints():
        file.write_bytes(b"")
    with pytest.warns(UserWarning, match="damaged"), pytest.raises(ValueError, match="all 2 checkpoints"):
        run.check(CONFIG)


def test_another_strategy_goes_on_and_other_devices_do_not(run):
    """How a step is computed may change between two starts, its batch may not."""
    run.config_file.unlink()
    run.claim(CONFIG | {"trainer": {"strategy": "auto", "devices": 2}})
    assert run.check(CONFIG | {"trainer": {"strategy": {"class_path": "DDPStrategy"}, "devices": 2}})
    with pytest.raises(ValueError, match=r"trainer\.devices: 2 → 1"):
        run.check(CONFIG | {"trainer": {"strategy": "auto", "devices": 1}})


def test_a_text_encoder_may_be_spread_or_whole_at_the_next_start(run):
    """It goes with a strategy, and folders of earlier versions do not know it."""
    for sharded in (True, False):
        assert run.check(CONFIG | {"model": {"init_args": {"shard_text_encoder": sharded}}})
    with pytest.raises(ValueError, match=r"model\.init_args\.clip: None → 1\.0"):
        run.check(CONFIG | {"model": {"init_args": {"clip": 1.0}}})


def test_how_checkpoints_are_written_may_change_between_two_starts(run):
    synchronous = {"class_path": "textok.callbacks.AtomicCheckpointIO"}
    assert run.check(CONFIG | {"trainer": {"plugins": [synchronous]}})
    with pytest.raises(ValueError, match=r"trainer\.plugins"):
        run.check(
            CONFIG | {"trainer": {"plugins": [synchronous, {"class_path": "lightning.pytorch.plugins.MixedPrecision"}]}}
        )

"""Checkpoints written beside the training: what they hold, what is removed when, and who is told of a failure."""

import threading
import time
from collections import OrderedDict

import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint

from textok.callbacks import AtomicCheckpointIO, BackgroundCheckpointIO, FinalCheckpoint, Watchdog
from textok.callbacks.background import in_main_memory
from textok.types import RunEnded


@pytest.fixture
def gate(monkeypatch):
    """Writing waits until this is set."""
    gate, write = threading.Event(), AtomicCheckpointIO.save_checkpoint

    def held(self, *args):
        assert gate.wait(30)
        write(self, *args)

    monkeypatch.setattr(AtomicCheckpointIO, "save_checkpoint", held)
    return gate


def test_a_checkpoint_holds_the_weights_of_its_step(gate, tmp_path):
    io, weight = BackgroundCheckpointIO(), torch.zeros(5)
    io.save_checkpoint({"weight": weight}, tmp_path / "a.ckpt")
    assert not (tmp_path / "a.ckpt").exists()
    weight += 1  # the next step
    gate.set()
    assert io.load_checkpoint(tmp_path / "a.ckpt")["weight"].equal(torch.zeros(5))
    io.teardown()


def test_an_old_checkpoint_stays_until_the_new_one_is_complete(gate, tmp_path):
    io, old = BackgroundCheckpointIO(), tmp_path / "old.ckpt"
    torch.save({}, old)
    io.save_checkpoint({"step": 2}, tmp_path / "new.ckpt")
    io.remove_checkpoint(old)
    assert old.exists()
    gate.set()
    io.wait()
    assert [file.name for file in tmp_path.iterdir()] == ["new.ckpt"]
    io.remove_checkpoint(tmp_path / "new.ckpt")  # nothing is under way
    assert not list(tmp_path.iterdir())
    io.teardown()


@pytest.fixture
def full_disk(monkeypatch):
    """The disk is full from the second checkpoint on."""
    saved, save = [], torch.save

    def fail(obj, file):
        saved.append(file)
        if len(saved) > 1:
            raise OSError("[Errno 28] No space left on device")
        save(obj, file)

    monkeypatch.setattr(torch, "save", fail)


def test_an_old_checkpoint_stays_if_the_new_one_fails(full_disk, tmp_path):
    io = BackgroundCheckpointIO()
    io.save_checkpoint({"step": 1}, tmp_path / "old.ckpt")
    io.save_checkpoint({"step": 2}, tmp_path / "new.ckpt")
    io.remove_checkpoint(tmp_path / "old.ckpt")
    with pytest.raises(OSError, match=r"new\.ckpt could not be written"):
        io.wait()
    assert io.load_checkpoint(tmp_path / "old.ckpt") == {"step": 1}
    io.teardown()


@pytest.mark.parametrize("max_steps", [3, 500])  # told at the end, and long before it
def test_a_run_is_told_that_the_disk_is_full(full_disk, max_steps, make_trainer, make_module, make_data, tmp_path):
    checkpoints = ModelCheckpoint(tmp_path, "{step}", save_top_k=1, every_n_train_steps=2, monitor=None)
    trainer = make_trainer(
        plugins=[BackgroundCheckpointIO()],
        callbacks=[checkpoints, FinalCheckpoint()],
        enable_checkpointing=True,
        max_steps=max_steps,
        max_epochs=-1,
    )
    with pytest.raises(OSError, match="could not be written, those before it are intact"):
        trainer.fit(make_module(), make_data())
    assert trainer.global_step < 100
    assert [file.name for file in tmp_path.glob("*.ckpt")] == ["step=2.ckpt"]


def test_a_copy_keeps_what_is_shared_and_shares_nothing_with_the_original():
    weight = torch.nn.Parameter(torch.ones(2))
    state = OrderedDict(weight=weight.detach(), tied=weight.detach(), part=weight.detach()[:1])  # as state_dict does
    state._metadata = {"": {"version": 1}}
    copied = in_main_memory({"state": state, "random": (3, (1, 2), None), "list": [torch.ones(1)]})
    with torch.no_grad():
        weight.zero_()
    assert copied["state"]["weight"] is copied["state"]["tied"] and copied["state"]["weight"].equal(torch.ones(2))
    assert copied["state"]["part"].equal(torch.ones(1))
    assert type(copied["state"]) is OrderedDict and copied["state"]._metadata == state._metadata
    assert copied["random"] == (3, (1, 2), None)


def test_the_watchdog_waits_before_it_sets_checkpoints_aside(
    monkeypatch, make_trainer, make_module, make_data, tmp_path
):
    """A checkpoint of after the first bad update that is still being written must not be the next start's."""

    class Diverging(make_module):
        skipped_steps = torch.zeros(2, dtype=torch.int64)
        accumulate = 1
        last_step = {}  # noqa: RUF012

        def training_step(self, batch, batch_idx):
            super().training_step(batch, batch_idx)
            self.skipped_steps[0] = max(0, self.global_step - 3)  # not finite from the fourth step on

    write = AtomicCheckpointIO.save_checkpoint

    def slow(self, checkpoint, path, *args):
        time.sleep(1.5 if "06" in str(path) else 0)  # still under way when the run ends, after step 8
        write(self, checkpoint, path, *args)

    monkeypatch.setattr(AtomicCheckpointIO, "save_checkpoint", slow)
    name = {"filename": "step{step:08d}", "auto_insert_metric_name": False}
    checkpoints = ModelCheckpoint(tmp_path, **name, save_top_k=-1, every_n_train_steps=2)
    trainer = make_trainer(
        plugins=[BackgroundCheckpointIO()],
        callbacks=[Watchdog(patience=4), checkpoints, FinalCheckpoint()],
        enable_checkpointing=True,
        max_steps=20,
        max_epochs=-1,
    )
    with pytest.raises(RunEnded, match="goes on from step 2 past"):
        trainer.fit(Diverging(), make_data())
    assert sorted(file.name for file in tmp_path.glob("step*")) == [
        "step00000002.ckpt",
        *(f"step{step:08d}.ckpt.diverged" for step in (4, 6)),
    ]


def test_a_failure_that_nobody_was_told_of_is_warned_of_at_the_end(full_disk, tmp_path):
    io = BackgroundCheckpointIO()
    for step in (1, 2):
        io.save_checkpoint({"step": step}, tmp_path / f"{step}.ckpt")
    with pytest.warns(UserWarning, match=r"2\.ckpt could not be written"):
        io.teardown()
    io.save_checkpoint({"step": 3}, tmp_path / "3.ckpt")  # of the next fit, which it does not concern
    with pytest.raises(OSError, match=r"3\.ckpt"):
        io.wait()
    io.teardown()

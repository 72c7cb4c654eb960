"""Checkpoint files through a real Trainer."""

import subprocess
import sys

import pytest
import torch

from textok.callbacks import AtomicCheckpointIO


class Code:
    def __reduce__(self):
        return (print, ("executed",))


def test_a_checkpoint_round_trip(make_trainer, make_module, make_data, tmp_path):
    module, path = make_module(), tmp_path / "checkpoints" / "last.ckpt"
    trainer = make_trainer(plugins=[AtomicCheckpointIO()])
    trainer.fit(module, make_data())
    trainer.save_checkpoint(path)
    assert [file.name for file in path.parent.iterdir()] == ["last.ckpt"]
    again = make_module()
    trainer = make_trainer(plugins=[AtomicCheckpointIO()], max_steps=4)
    trainer.fit(again, make_data(), ckpt_path=path)
    assert trainer.global_step == 4
    stored = AtomicCheckpointIO().load_checkpoint(path)["state_dict"]
    assert all(torch.equal(value, module.state_dict()[name]) for name, value in stored.items())


def test_a_failed_save_keeps_the_last_checkpoint(tmp_path):
    path = tmp_path / "last.ckpt"
    plugin = AtomicCheckpointIO()
    plugin.save_checkpoint({"step": 1}, path)
    with pytest.raises(AttributeError, match="lambda"):
        plugin.save_checkpoint({"step": lambda: 2}, path)
    assert plugin.load_checkpoint(path) == {"step": 1}
    assert list(tmp_path.iterdir()) == [path]


def test_a_checkpoint_that_carries_code_is_refused(tmp_path, capsys):
    path = tmp_path / "evil.ckpt"
    torch.save({"state_dict": Code()}, path)
    with pytest.raises(ValueError, match="refused"):
        AtomicCheckpointIO().load_checkpoint(path, weights_only=False)
    assert "executed" not in capsys.readouterr().out


#: Saves a checkpoint, then a larger one under a limit on the size of files: writing fails as on a full disk.
FULL_DISK = """
import resource, signal, sys
import torch
from textok.callbacks import AtomicCheckpointIO
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
plugin = AtomicCheckpointIO()
plugin.save_checkpoint({"weight": torch.ones(10)}, sys.argv[1])
resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
try:
    plugin.save_checkpoint({"weight": torch.zeros(1_000_000)}, sys.argv[1])
except OSError as error:
    print(error)
"""


def test_a_full_disk_is_told_and_keeps_the_last_checkpoint(tmp_path):
    path = tmp_path / "last.ckpt"
    done = subprocess.run([sys.executable, "-c", FULL_DISK, str(path)], capture_output=True, text=True, check=True)
    assert "could not be written" in done.stdout and "disk full" in done.stdout
    assert AtomicCheckpointIO().load_checkpoint(path)["weight"].equal(torch.ones(10))
    assert list(tmp_path.iterdir()) == [path]

"""Checkpoint files through a real Trainer."""

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

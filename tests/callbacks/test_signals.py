"""A signal to one of several processes ends all of them at the same step."""

import os
import signal

import pytest
import torch
from lightning.pytorch.callbacks import Callback, ModelCheckpoint

from textok.callbacks import StopOnSignal


class Signal(Callback):
    """Sends a signal to the process of rank 1 in step 3."""

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        if trainer.global_rank == 1 and trainer.global_step == 2:
            os.kill(os.getpid(), signal.SIGUSR1)


@pytest.mark.slow
@pytest.mark.parametrize("monitor", ["step", "train/l2"])
def test_all_processes_end_at_one_step(make_trainer, make_module, make_data, tmp_path, monitor):
    saves = ModelCheckpoint(
        tmp_path / "checkpoints", filename="step{step:08d}", auto_insert_metric_name=False, monitor=monitor, mode="max"
    )
    callbacks = [Signal(), StopOnSignal(every=4), saves]
    trainer = make_trainer(
        callbacks, strategy="ddp_fork", devices=2, max_steps=20, max_epochs=-1, enable_checkpointing=True
    )
    with pytest.raises(Exception, match="SIGUSR1 after step 4: saved"):
        trainer.fit(make_module(), make_data())
    (file,) = (tmp_path / "checkpoints").iterdir()
    assert torch.load(file, weights_only=True)["global_step"] == 4

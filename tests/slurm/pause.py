"""What the processes of the Slurm tests import beside textok."""

import time

from lightning.pytorch.callbacks import Callback


class Pause(Callback):
    """Makes each step last, so that there is time to disturb a run.

    Args:
        seconds: Added to each step.
    """

    def __init__(self, seconds: float = 0.1) -> None:
        self.seconds = seconds

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        time.sleep(self.seconds)

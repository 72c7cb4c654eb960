"""The watchdog's warnings about the discriminator, and the record of batches to pass over."""

import warnings

import pytest
import torch

from textok.callbacks import Watchdog
from textok.callbacks.passed_over import PassedOver, set_aside


@pytest.fixture
def judged(make_trainer, make_module, make_data):
    """Trains with a discriminator whose accuracy at each step is given; returns what was warned."""

    class Judged(make_module):
        skipped_steps = torch.zeros(2, dtype=torch.int64)

        def training_step(self, batch, batch_idx):
            super().training_step(batch, batch_idx)
            accuracy = self.accuracies[self.global_step - 1]
            self.log_dict({"train/discriminator_accuracy": accuracy, "train/logit_gap": 2 * accuracy - 1})

    def judge(accuracies):
        module = Judged()
        module.accuracies = accuracies
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            make_trainer([Watchdog(window=3)], max_steps=len(accuracies)).fit(module, make_data())
        return [str(w.message) for w in caught if "discriminator's accuracy" in str(w.message)]

    return judge


def test_a_discriminator_that_wins_is_told_once_each_time(judged):
    (first, second) = judged([1.0] * 5 + [0.7] * 3 + [1.0] * 4)
    assert "step 3: the discriminator's accuracy is 1.000 over the last 3 logged steps" in first
    assert "it has won" in first and second.startswith("step 11")


def test_a_discriminator_that_tells_nothing_apart_is_told(judged):
    (told,) = judged([0.8, 0.5, 0.51, 0.49, 0.5])
    assert told.startswith("step 4") and "tells nothing apart" in told


def test_a_healthy_discriminator_is_not_told(judged):
    assert judged([0.5, 1.0, 0.75, 0.6, 0.9, 0.5]) == []


def test_it_needs_a_module_that_counts(make_trainer, make_module, make_data):
    with pytest.raises(ValueError, match="TinyModule does not"):
        make_trainer([Watchdog()]).fit(make_module(), make_data())
    with pytest.raises(ValueError, match="at least 1, got 0 and 20"):
        Watchdog(patience=0)


def test_jumps_are_taken_once_each_at_its_step_and_again_from_an_older_checkpoint(tmp_path):
    first = PassedOver()
    first.read(tmp_path)
    first.add(4, 2, tmp_path)
    first.read(tmp_path)
    assert (first.take(3), first.take(4), first.take(4)) == (0, 2, 0)
    first.add(4, 3, tmp_path)
    again = PassedOver()
    again.read(tmp_path)
    assert again.take(4) == 5
    later = PassedOver()
    later.taken = list(first.taken)
    later.read(tmp_path)
    assert later.take(4) == 3


def test_checkpoints_of_after_a_step_are_set_aside(tmp_path):
    for step in (2, 4, 6):
        (tmp_path / f"step{step:08d}.ckpt").touch()
    assert set_aside(tmp_path, 5) == 4
    assert sorted(p.name for p in tmp_path.iterdir())[-1] == "step00000006.ckpt.diverged"
    assert set_aside(tmp_path, 1) == 0
    assert list(tmp_path.glob("*.ckpt")) == []

"""Validation on two ranks of which one has nothing but padding: six pictures make a single batch, the first rank's."""

from datetime import timedelta

import pytest
import torch
from lightning.pytorch.strategies import DDPStrategy

pytestmark = pytest.mark.slow


def two_ranks():
    # A rank that waits in vain fails after a while.
    return {"strategy": DDPStrategy(start_method="fork", timeout=timedelta(seconds=60)), "devices": 2}


def validate(trainer, module, data):
    trainer.validate(module, data, verbose=False)
    return {name: float(value) for name, value in trainer.callback_metrics.items()}


@pytest.mark.parametrize("stage", ["tokenizer", "generator"])
def test_a_rank_without_pictures_does_not_hang_the_others(
    make_tokenizer, make_generator, make_data, make_trainer, stage
):
    def make():
        if stage == "tokenizer":
            return make_tokenizer()
        module = make_generator()
        module.normalizer.fit([torch.randn(8, 4, 8, generator=torch.Generator().manual_seed(0))])
        return module

    torch.set_num_threads(1)  # threads do not survive the fork
    expected = validate(make_trainer(-1, limit_val_batches=1.0), make(), make_data(eval_batch_size=8))
    found = validate(make_trainer(-1, limit_val_batches=1.0, **two_ranks()), make(), make_data(eval_batch_size=8))
    assert expected and found == pytest.approx(expected, rel=1e-6)

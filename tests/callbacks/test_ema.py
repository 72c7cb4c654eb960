"""The moving average, once a step."""

import copy

import lightning.pytorch as pl
import pytest
import torch

from textok.callbacks import EMA


class Recorder(pl.Callback):
    """Keeps the trained weights after every batch; it runs after EMA."""

    def __init__(self):
        self.weights, self.averages = [], []

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self.weights.append(copy.deepcopy(pl_module.net.state_dict()))
        self.averages.append(copy.deepcopy(pl_module.ema.state_dict()))


@pytest.mark.parametrize("ramp", [False, True])
def test_the_average_by_hand(make_trainer, make_module, make_data, ramp):
    module, recorder = make_module(), Recorder()
    expected = copy.deepcopy(module.net.state_dict())
    make_trainer([EMA(decay=0.3, ramp=ramp), recorder]).fit(module, make_data())
    assert len(recorder.weights) == 3
    for step, weights in enumerate(recorder.weights, start=1):
        decay = min(0.3, (1 + step) / (10 + step)) if ramp else 0.3
        for name, value in weights.items():
            expected[name] = value if name == "calls" else decay * expected[name] + (1 - decay) * value
            torch.testing.assert_close(recorder.averages[step - 1][name], expected[name], rtol=1e-5, atol=1e-6)
    assert int(module.ema.calls) == 3


def test_accumulated_batches_move_it_once(make_trainer, make_module, make_data):
    recorder = Recorder()
    make_trainer([EMA(), recorder], max_steps=2).fit(make_module(accumulate=3), make_data(count=24))
    moved = [
        not torch.equal(before["up.weight"], after["up.weight"])
        for before, after in zip(recorder.averages, recorder.averages[1:])
    ]
    assert moved == [False, True, False, False, True]


def test_it_lags_behind_the_trained_weights(make_trainer, make_module, make_data):
    module = make_module()
    start = module.net.up.bias.detach().clone()
    make_trainer([EMA(decay=0.9, ramp=False)]).fit(module, make_data())
    assert 0 < (module.ema.up.bias - start).norm() < 0.5 * (module.net.up.bias - start).norm()
    assert not any(parameter.requires_grad for parameter in module.ema.parameters())


def test_bad_settings(make_trainer, make_module, make_data):
    with pytest.raises(ValueError, match=r"1\.0"):
        EMA(decay=1.0)
    with pytest.raises(ValueError, match=r"bf16-mixed"):
        make_trainer([EMA()]).fit(make_module().bfloat16(), make_data())

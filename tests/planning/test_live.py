"""Live bytes follow storages, not tensors, and forget what is freed."""

import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from textok.planning.live import LiveBytes


def test_views_count_once_and_freed_storages_not_at_all():
    with FakeTensorMode(), LiveBytes() as live:
        x = torch.empty(1000)
        view = x.view(10, 100)[2:4]
        assert live.now == live.peak == 4000
        y = x + 1
        del x
        assert live.now == 8000  # the view holds the first storage
        del view
        assert live.now == 4000 and live.peak == 8000
        live.reset_peak()
        del y
        assert live.now == 0 and live.peak == 4000


def test_what_autograd_saves_is_alive_until_the_backward_pass():
    with FakeTensorMode(), LiveBytes() as live:
        weight = torch.empty(100, requires_grad=True)
        loss = weight.exp().exp().sum()
        assert live.now == 400 + 2 * 400 + 4  # exp keeps its result
        loss.backward()
        assert live.now == 400 + 400 + 4  # weight, gradient, loss


def test_real_tensors_count_as_well():
    with LiveBytes() as live:
        torch.ones(10, dtype=torch.float64)
        assert live.now == 0 and live.peak == 80

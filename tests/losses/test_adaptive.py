from __future__ import annotations

import pytest
import torch

from textok.losses import adaptive_weight


def test_ratio_of_gradient_norms_by_hand():
    layer = torch.ones(3, requires_grad=True)
    first, second = torch.tensor([3.0, 4.0, 0.0]), torch.tensor([0.0, 0.0, 2.0])
    weight = adaptive_weight((first * layer).sum(), (second * layer).sum(), layer)
    assert weight.item() == pytest.approx(5 / (2 + 1e-4))
    assert not weight.requires_grad


def test_both_graphs_are_kept_and_no_gradient_is_left_behind():
    layer = torch.ones(3, requires_grad=True)
    shared = layer.exp()
    reconstruction, adversarial = shared.sum(), shared.square().sum()
    weight = adaptive_weight(reconstruction, adversarial, layer)
    assert layer.grad is None
    (reconstruction + weight * adversarial).backward()
    e = torch.ones(3).exp()
    torch.testing.assert_close(layer.grad, e + weight * 2 * e**2)


def test_a_vanishing_adversarial_gradient_meets_the_limit():
    layer = torch.ones(3, requires_grad=True)
    assert adaptive_weight(1e3 * layer.sum(), 0 * layer.sum(), layer).item() == 1e4
    assert adaptive_weight(layer.sum(), 0 * layer.sum(), layer, limit=7.0).item() == 7.0

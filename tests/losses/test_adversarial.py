from __future__ import annotations

import math

import pytest
import torch

from textok.losses import HingeLoss, NonSaturatingLoss

REAL = torch.tensor([2.0, -1.0, 0.5])
FAKE = torch.tensor([-2.0, 1.0, 0.0])


def softplus(x: float) -> float:
    return math.log1p(math.exp(x))


def test_non_saturating_by_hand():
    loss = NonSaturatingLoss()
    expected = (softplus(-2) + softplus(1) + softplus(-0.5)) / 3 + (softplus(-2) + softplus(1) + softplus(0)) / 3
    assert loss.discriminator(REAL, FAKE).item() == pytest.approx(expected)
    assert loss.generator(FAKE).item() == pytest.approx((softplus(2) + softplus(-1) + softplus(0)) / 3)
    zeros = torch.zeros(4)
    assert loss.discriminator(zeros, zeros).item() == pytest.approx(2 * math.log(2))


def test_hinge_by_hand():
    loss = HingeLoss()
    assert loss.discriminator(REAL, FAKE).item() == pytest.approx((0 + 2 + 0.5) / 3 + (0 + 2 + 1) / 3)
    assert loss.generator(FAKE).item() == pytest.approx(1 / 3)


@pytest.mark.parametrize("loss", [NonSaturatingLoss(), HingeLoss()])
def test_a_map_counts_as_many_samples_and_large_logits_stay_finite(loss):
    assert torch.equal(loss.discriminator(REAL.view(1, 1, 1, 3), FAKE.view(1, 1, 1, 3)), loss.discriminator(REAL, FAKE))
    value = loss.discriminator(torch.tensor([-1e4]).half(), torch.tensor([1e4]).half())
    assert value.dtype == torch.float32 and value.item() == pytest.approx(2e4, rel=1e-3)


@pytest.mark.parametrize("loss", [NonSaturatingLoss(), HingeLoss()])
def test_each_side_pulls_its_own_way(loss):
    real, fake = torch.zeros(2, requires_grad=True), torch.zeros(2, requires_grad=True)
    loss.discriminator(real, fake).backward()
    assert (real.grad < 0).all() and (fake.grad > 0).all()  # descent raises real, lowers fake
    fake.grad = None
    loss.generator(fake).backward()
    assert (fake.grad < 0).all()

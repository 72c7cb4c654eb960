from __future__ import annotations

import pytest
import torch
from torch import nn

from textok.losses import R1


class Linear(nn.Module):
    """D(x) = w · x, whose gradient is w everywhere."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.linspace(-1, 2, 3 * 4 * 4))

    def forward(self, images):
        return images.flatten(1) @ self.weight


class Quadratic(nn.Module):
    """D(x) = a |x|² / 2, whose gradient is a x."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(3.0))

    def forward(self, images):
        return self.scale * images.square().sum(dim=1, keepdim=True) / 2  # (B, 1, H, W), a map


def test_linear_discriminator_gives_the_squared_norm_of_its_weight():
    discriminator = Linear()
    penalty = R1()(discriminator, torch.randn(5, 3, 4, 4))
    torch.testing.assert_close(penalty, discriminator.weight.detach().square().sum())
    penalty.backward()
    torch.testing.assert_close(discriminator.weight.grad, 2 * discriminator.weight.detach())


def test_penalty_is_the_mean_over_samples_and_a_map_is_summed():
    discriminator, images = Quadratic(), torch.randn(5, 3, 4, 4)
    penalty = R1()(discriminator, images)
    squares = images.square().flatten(1).sum(dim=1).mean()
    torch.testing.assert_close(penalty.detach(), 9 * squares)
    penalty.backward()
    torch.testing.assert_close(discriminator.scale.grad, 6 * squares)


def test_images_keep_no_gradient_and_autocast_does_not_reach_it():
    discriminator, images = Linear(), torch.randn(2, 3, 4, 4).bfloat16().requires_grad_(True)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        penalty = R1()(discriminator, images)
    assert penalty.dtype == torch.float32
    torch.testing.assert_close(penalty, discriminator.weight.detach().square().sum(), rtol=1e-6, atol=0)
    penalty.backward()
    assert images.grad is None


def test_lazy_penalty_times_every_has_the_mean_of_the_eager_one():
    r1, discriminator, images = R1(every=4), Linear(), torch.randn(2, 3, 4, 4)
    paid = [r1.every * r1(discriminator, images).item() if r1.is_due(step) else 0.0 for step in range(8)]
    assert [step for step in range(8) if r1.is_due(step)] == [0, 4]
    assert sum(paid) / 8 == pytest.approx(R1()(discriminator, images).item())
    with pytest.raises(ValueError, match="every must be"):
        R1(every=0)


def test_work_can_be_counted_on_the_meta_device():
    discriminator = Linear().to("meta")
    assert R1()(discriminator, torch.empty(2, 3, 4, 4, device="meta")).shape == ()

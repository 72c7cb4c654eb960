from __future__ import annotations

import pytest
import torch

from textok.losses import L1Loss, L2Loss


def test_values_by_hand():
    image = torch.tensor([-1.0, 0.0, 0.5, 1.0]).view(1, 1, 2, 2)
    reconstruction = torch.tensor([1.0, 0.5, 0.5, 1.0]).view(1, 1, 2, 2)
    assert L2Loss()(reconstruction, image).item() == (4 + 0.25) / 4
    assert L1Loss()(reconstruction, image).item() == (2 + 0.5) / 4


@pytest.mark.parametrize("loss", [L2Loss(), L1Loss()])
def test_half_precision_is_summed_in_float32_and_float64_stays(loss):
    image, error = torch.zeros(4, 3, 64, 64), 2**-6
    value = loss((image + error).bfloat16(), image)
    assert value.dtype == torch.float32
    assert value.item() == pytest.approx(error**2 if isinstance(loss, L2Loss) else error)
    assert loss(image.double(), image.double()).dtype == torch.float64

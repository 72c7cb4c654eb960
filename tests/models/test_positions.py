"""The sin-cos table against its formula."""

import math

import pytest
import torch

from textok.models.positions import sincos, sincos_table


def test_entries_follow_the_formula():
    table = sincos_table(5, 8)
    assert table.shape == (5, 8) and table.dtype == torch.float32
    for position in range(5):
        for i in range(4):
            angle = position / 10_000 ** (i / 4)
            assert table[position, i].item() == pytest.approx(math.sin(angle), abs=1e-6)
            assert table[position, 4 + i].item() == pytest.approx(math.cos(angle), abs=1e-6)


def test_half_precision_times_stay_apart():
    """999 and 998 are one number in bfloat16; the frequencies must be computed in float32."""
    embedded = sincos(torch.tensor([998, 999]), 256)
    assert embedded.dtype == torch.float32
    assert (embedded[0] - embedded[1]).abs().max() > 0.5


@pytest.mark.parametrize("width", [0, -2, 7])
def test_odd_or_empty_width_is_refused(width):
    with pytest.raises(ValueError, match=str(width)):
        sincos_table(4, width)

"""Noise that belongs to the rows of a step, however the step is cut."""

import pytest
import torch

from textok.noise import integer_rows, normal_like, normal_rows, rows_of, uniform_rows

DRAWS = [normal_like, uniform_rows, normal_rows, lambda x: integer_rows(1000, x)]


def drawn(first, count, total, seed=5):
    with rows_of(first, count, total, seed):
        return [draw(torch.zeros(count, 3, 2)) for draw in DRAWS]


def test_parts_are_the_rows_of_the_whole():
    whole = drawn(0, 6, 6)
    parts = [drawn(0, 2, 6), drawn(2, 2, 6), drawn(4, 2, 6)]
    for values, pieces in zip(whole, zip(*parts), strict=True):
        assert torch.equal(values, torch.cat(pieces)) and len(values.unique()) > 3
    assert not torch.equal(whole[0], drawn(0, 6, 6, seed=6)[0])


def test_other_noise_keeps_a_stream_of_its_own():
    """A plug-in that draws from torch's global generator gets what it would have got, also between two of ours."""
    torch.manual_seed(1)
    expected = torch.rand(4)
    torch.manual_seed(1)
    with rows_of(0, 2, 4, 9):
        found = [torch.rand(2), normal_like(torch.zeros(2, 1)), torch.rand(2)]
    assert torch.equal(torch.cat([found[0], found[2]]), expected)
    torch.manual_seed(1)
    assert torch.equal(uniform_rows(torch.zeros(4, 2)), expected)  # outside, they are torch's own


def test_a_batch_of_another_size_is_a_bug():
    with rows_of(0, 2, 4, 9), pytest.raises(AssertionError, match="noise for 3 rows in a batch of 2"):
        normal_like(torch.zeros(3, 1))

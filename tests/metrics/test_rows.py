"""Rows of features, in the order of their images."""

import pytest
import torch

from textok.metrics.rows import FeatureRows, draw


def collect(index, batch_size, **options):
    rows = FeatureRows(2, **options)
    for part in index.split(batch_size):
        rows.update(torch.stack([part, part * 2], dim=1).float(), part)
    return rows.compute()


def test_sorted_by_index_whatever_the_order():
    index = torch.randperm(65, generator=torch.Generator().manual_seed(0))
    expected = torch.arange(65.0)
    for batch_size in (1, 7, 64):
        assert torch.equal(collect(index, batch_size)[:, 0], expected)
    assert FeatureRows(2).compute().shape == (0, 2)


def test_a_limit_keeps_the_same_images_whatever_the_order():
    index = torch.arange(1000)
    kept = collect(index, 64, limit=100)
    assert kept.shape == (100, 2) and torch.equal(kept, collect(index.flip(0), 7, limit=100))
    assert torch.equal(kept[:, 0], kept[:, 0].sort().values)
    # Not the first ones, which would be the first classes: a tenth of every tenth, about.
    assert torch.histc(kept[:, 0], 10, 0, 1000).min() >= 3
    assert not torch.equal(kept, collect(index, 64, limit=100, seed=1))
    assert len(collect(index, 64, limit=1000)) == 1000


def test_the_draw_is_a_permutation_without_a_pattern():
    order = draw(torch.arange(100_000), seed=2020)
    assert len(order.unique()) == 100_000
    assert abs(float((order < 0).double().mean()) - 0.5) < 0.01
    # splitmix64 of state 0: Vigna's reference implementation.
    assert draw(torch.tensor([0]), 0).item() == 0xE220A8397B1DCDAF - 2**64


def test_another_width_and_a_wrong_limit():
    with pytest.raises(ValueError, match=r"\(n, 2\), got \(3, 4\)"):
        FeatureRows(2).update(torch.zeros(3, 4), torch.arange(3))
    with pytest.raises(ValueError, match="positive, got 0"):
        FeatureRows(2, limit=0)

"""Precision and recall against their definition and torch-fidelity."""

import pytest
import torch

from textok.metrics.precision_recall import precision_recall


def sets():
    generator = torch.Generator().manual_seed(0)
    samples = torch.randn(70, 16, generator=generator) * 0.8 + 0.3 + 50
    return samples, torch.randn(90, 16, generator=generator) + 50


@pytest.mark.parametrize("block", [7, 32, 2048])
@pytest.mark.parametrize("neighbours", [1, 3])
def test_blocks_do_not_show(block, neighbours):
    from torch_fidelity.metric_prc import calculate_precision_recall_full

    samples, real = sets()
    expected = calculate_precision_recall_full(samples.double(), real.double(), neighbours)
    assert precision_recall(samples, real, neighbours, block) == pytest.approx(expected, rel=1e-6)
    assert 0 < expected[0] < 1 and 0 < expected[1] < 1 and expected[0] != expected[1]


def test_on_a_line_by_hand():
    # k = 1: balls of radius 1 around 0 and 1, of radius 9 around 10; of radius 0.5 around the samples 3 and 3.5.
    real = torch.tensor([[0.0], [1.0], [10.0]])
    samples = torch.tensor([[3.0], [3.5], [30.0]])
    assert precision_recall(samples, real, neighbours=1) == pytest.approx((2 / 3, 1 / 3))


def test_equal_and_distant_sets():
    real = sets()[1]
    assert precision_recall(real, real) == (1.0, 1.0)
    assert precision_recall(real + 100, real) == (0.0, 0.0)


def test_too_few_images():
    with pytest.raises(ValueError, match="k = 3 need more than 3 samples"):
        precision_recall(torch.zeros(3, 2), torch.zeros(9, 2))

"""The kernel distance against its definition and torch-fidelity."""

import pytest
import torch

from textok.metrics.kernel import kernel_distance


def rows(count, seed, shift=0.0):
    return torch.randn(count, 24, generator=torch.Generator().manual_seed(seed)) + shift


def test_one_full_size_subset_by_its_definition():
    x, y = rows(12, 0).double(), rows(12, 1, 0.5).double()

    def k(a, b):
        return (a @ b / 24 + 1) ** 3

    pairs = [(i, j) for i in range(12) for j in range(12)]
    within = sum(k(x[i], x[j]) + k(y[i], y[j]) for i, j in pairs if i != j) / (12 * 11)
    across = sum(k(x[i], y[j]) for i, j in pairs) / 144
    assert kernel_distance(x, y) == (pytest.approx(float(within - 2 * across), rel=1e-10), 0.0)


def test_subsets_are_those_of_torch_fidelity():
    from torch_fidelity.metric_kid import kid_features_to_metric

    x, y = rows(60, 0), rows(90, 1, 0.5)
    expected = kid_features_to_metric(x, y, kid_subsets=7, kid_subset_size=40, verbose=False)
    mean, deviation = kernel_distance(x, y, num_subsets=7, subset_size=40)
    assert mean == pytest.approx(expected["kernel_inception_distance_mean"], rel=1e-5)
    assert deviation == pytest.approx(expected["kernel_inception_distance_std"], rel=1e-4)
    assert kernel_distance(x, y, 7, 40, seed=1) != (mean, deviation)


@pytest.mark.parametrize("num_subsets", [2, 50])
def test_kernels_of_the_whole_sets_change_nothing(num_subsets, monkeypatch):
    x, y = rows(60, 0), rows(90, 1, 0.5)
    results = []
    for largest in (0, 10**6):
        monkeypatch.setattr("textok.metrics.kernel.LARGEST_WHOLE", largest)
        results.append(kernel_distance(x, y, num_subsets, subset_size=40))
    assert results[0] == pytest.approx(results[1], rel=1e-9)


def test_alike_sets_are_near_zero_with_few_images():
    pairs = [kernel_distance(rows(20, 2 * i), rows(20, 2 * i + 1))[0] for i in range(40)]
    assert abs(sum(pairs) / 40) < 0.02 < kernel_distance(rows(20, 0), rows(20, 1, 0.3))[0]
    assert min(pairs) < 0


def test_one_image():
    with pytest.raises(ValueError, match="at least 2 images on either side, got 1 and 5"):
        kernel_distance(rows(1, 0), rows(5, 1))

"""The Fréchet distance against closed forms, scipy and torch-fidelity."""

import numpy as np
import pytest
import torch

from textok.metrics.frechet import frechet_distance, frechet_floor
from textok.metrics.statistics import Gaussian


def rows(count, dim, seed, scale=1.0, shift=0.0):
    generator = torch.Generator().manual_seed(seed)
    mix = torch.randn(dim, dim, generator=generator, dtype=torch.float64) / dim**0.5
    return torch.randn(count, dim, generator=generator, dtype=torch.float64) @ mix * scale + shift


def by_scipy(one, other):
    from scipy.linalg import sqrtm

    root = sqrtm(one.covariance.numpy() @ other.covariance.numpy())
    difference = (one.mean - other.mean).numpy()
    total = one.covariance.trace() + other.covariance.trace()
    return float(difference @ difference + total - 2 * np.trace(root).real)


def test_two_gaussians_by_hand():
    # Commuting covariances: Σ (√a − √b)², and the squared distance of the means.
    one = Gaussian(torch.tensor([1.0, 2.0]).double(), torch.diag(torch.tensor([4.0, 9.0]).double()), None)
    other = Gaussian(torch.tensor([4.0, -2.0]).double(), torch.diag(torch.tensor([1.0, 25.0]).double()), None)
    assert frechet_distance(one, other) == pytest.approx(25 + (2 - 1) ** 2 + (3 - 5) ** 2, rel=1e-12)


def test_full_rank_is_scipys_and_torch_fidelitys():
    from torch_fidelity.metric_fid import fid_statistics_to_metric

    one, other = Gaussian.of(rows(200, 48, 0)), Gaussian.of(rows(300, 48, 1, 1.3, 0.2))
    distance = frechet_distance(one, other)
    assert distance == pytest.approx(by_scipy(one, other), rel=1e-9)
    theirs = [{"mu": g.mean.numpy(), "sigma": g.covariance.numpy()} for g in (one, other)]
    expected = fid_statistics_to_metric(*theirs, verbose=False)["frechet_inception_distance"]
    assert distance == pytest.approx(expected, rel=1e-9)
    assert frechet_distance(other, one) == pytest.approx(distance, rel=1e-9)


@pytest.mark.parametrize("counts", [(6, 200), (200, 6), (6, 9), (45, 40)])
def test_fewer_images_than_dimensions(counts):
    one, other = (rows(count, 48, seed, 1.0 + seed, seed) for seed, count in enumerate(counts))
    # Singular covariances: tr (Σ₁Σ₂)^½ is the sum of the singular values of the product of the centred features.
    centred = [(x - x.mean(dim=0)) / (len(x) - 1) ** 0.5 for x in (one, other)]
    trace = torch.linalg.svdvals(centred[0] @ centred[1].T).sum()
    expected = (one.mean(dim=0) - other.mean(dim=0)).square().sum()
    expected += sum(x.square().sum() for x in centred) - 2 * trace
    assert frechet_distance(Gaussian.of(one), Gaussian.of(other)) == pytest.approx(float(expected), rel=1e-8)


def test_singular_though_the_count_does_not_say_so():
    x = rows(200, 16, 0)
    x[:, 8:] = x[:, :8]  # half of the features repeat the others
    unknown = Gaussian(Gaussian.of(x).mean, Gaussian.of(x).covariance, None)
    assert frechet_distance(unknown, unknown) == pytest.approx(0, abs=1e-6)
    other = Gaussian.of(rows(300, 16, 1))
    assert frechet_distance(unknown, other) == pytest.approx(frechet_distance(other, unknown), rel=1e-6)


def test_equal_sets_have_no_distance():
    one = Gaussian.of(rows(100, 32, 0))
    assert frechet_distance(one, one) == pytest.approx(0, abs=1e-9)


def test_the_floor_is_that_of_two_draws_from_one_set():
    real = rows(40, 64, 0)
    floor, one, other = frechet_floor(real, 10)
    assert (one, other) == (10, 30)
    assert floor > frechet_floor(real, 20)[0] > 0
    assert frechet_floor(real, 35)[1:] == (20, 20)
    with pytest.raises(ValueError, match="3 real images are too few"):
        frechet_floor(real[:3], 2)


def test_other_widths_and_broken_statistics():
    one, other = Gaussian.of(rows(20, 4, 0)), Gaussian.of(rows(20, 5, 0))
    with pytest.raises(ValueError, match="width 4 and 5"):
        frechet_distance(one, other)
    with pytest.raises(ValueError, match="NaN"):
        frechet_distance(one, Gaussian(one.mean, one.covariance * torch.nan, 20))

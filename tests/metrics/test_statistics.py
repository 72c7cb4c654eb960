"""Mean and covariance from sums."""

import numpy as np
import pytest
import torch

from textok.metrics.statistics import FeatureStatistics, Gaussian


def rows():
    return torch.randn(65, 6, generator=torch.Generator().manual_seed(0)) * 3 + 100


@pytest.mark.parametrize("batch_size", [1, 7, 64])
def test_it_is_numpys_at_any_batch_size(batch_size):
    statistics = FeatureStatistics(6)
    for part in rows().split(batch_size):
        statistics.update(part)
    result = statistics.compute()
    assert result.count == 65
    np.testing.assert_allclose(result.mean, rows().double().mean(dim=0), rtol=1e-12)
    np.testing.assert_allclose(result.covariance, np.cov(rows().double().numpy(), rowvar=False), rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(Gaussian.of(rows()).covariance, result.covariance, rtol=1e-9, atol=1e-9)


def test_no_image_one_image_and_another_width():
    statistics = FeatureStatistics(6)
    with pytest.raises(ValueError, match="at least 2 images, got 0"):
        statistics.compute()
    statistics.update(rows()[:1])
    with pytest.raises(ValueError, match="at least 2 images, got 1"):
        statistics.compute()
    with pytest.raises(ValueError, match=r"\(n, 6\), got \(65, 5\)"):
        statistics.update(rows()[:, :5])

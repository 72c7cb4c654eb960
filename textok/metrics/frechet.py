"""The Fréchet distance of two Gaussians: FID in Inception features, FED in Lite0's."""

from __future__ import annotations

import torch
from torch import Tensor

from textok.metrics.rows import draw
from textok.metrics.statistics import Gaussian


def frechet_distance(one: Gaussian, other: Gaussian) -> float:
    """|μ₁ − μ₂|² + tr(Σ₁ + Σ₂ − 2 (Σ₁Σ₂)^½) in float64.

    Source: Heusel et al., "GANs trained by a two time-scale update rule", equation 6. The trace of the root is the sum
    of the roots of the eigenvalues of Lᵀ Σ₂ L with Σ₁ = L Lᵀ: symmetric, so they are real and as many as Σ₁ has rank.
    (scipy's sqrtm of the product is twelve times as slow and complex where a covariance is singular.)

    Raises:
        ValueError: If the two differ in width, or hold a NaN or an infinity.
    """
    if one.mean.shape != other.mean.shape:
        raise ValueError(
            f"features of width {len(one.mean)} and {len(other.mean)} cannot be compared: "
            "the two sets were measured with different extractors"
        )
    for statistics in (one, other):
        if not (statistics.mean.isfinite().all() and statistics.covariance.isfinite().all()):
            raise ValueError("the statistics hold a NaN or an infinity: no distance can be computed")
    mean_1, mean_2 = one.mean.double(), other.mean.double()
    sigma_1, sigma_2 = one.covariance.double(), other.covariance.double()
    rank_1, rank_2 = _rank_bound(one), _rank_bound(other)
    if rank_2 < rank_1:  # the one with the lower rank is the one to factor
        sigma_1, sigma_2, rank_1 = sigma_2, sigma_1, rank_2
    root = _factor(sigma_1, rank_1)
    eigenvalues = torch.linalg.eigvalsh(root.T @ sigma_2 @ root)
    # Rounding makes zeros slightly negative.
    trace = eigenvalues.clamp(min=0).sqrt().sum()
    return float((mean_1 - mean_2).square().sum() + sigma_1.trace() + sigma_2.trace() - 2 * trace)


def frechet_floor(rows: Tensor, count: int, seed: int = 0) -> tuple[float, int, int]:
    """What the distance makes of sets that do not differ: ``count`` real images against the other real images.

    With few images the distance is mostly bias, and this is how much: a model cannot be expected below it.

    Args:
        rows: (n, F) features of real images.
        count: Images in the smaller set; half of the real images at most.
        seed: Seed of the draw.

    Returns:
        The distance, and the numbers of images on its two sides.
    """
    count = min(count, len(rows) // 2)
    if count < 2:
        raise ValueError(f"{len(rows)} real images are too few to compare some of them with the others")
    order = draw(torch.arange(len(rows)), seed).argsort()
    one, other = rows[order[:count]], rows[order[count:]]
    return frechet_distance(Gaussian.of(one), Gaussian.of(other)), len(one), len(other)


def _rank_bound(statistics: Gaussian) -> int:
    """A bound of the covariance's rank: n images span n − 1 dimensions around their mean."""
    dim = len(statistics.mean)
    return dim if statistics.count is None else min(dim, statistics.count - 1)


def _factor(sigma: Tensor, rank: int) -> Tensor:
    """L (F, ≤ rank) with L Lᵀ = Σ: by Cholesky, or from the positive eigenvalues where Σ is singular."""
    dim = len(sigma)
    if rank == dim:
        root, failed = torch.linalg.cholesky_ex(sigma)
        if not failed:
            return root
    basis = None
    if rank < dim // 2:
        # The images of a few random vectors span all of a low rank's range: exact, and far cheaper than eigenvectors of
        # Σ. (Halko et al., "Finding structure with randomness", section 4.)
        vectors = torch.randn(dim, rank + 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        basis = torch.linalg.qr(sigma @ vectors.to(sigma.device)).Q
        sigma = basis.T @ sigma @ basis
    values, vectors = torch.linalg.eigh(sigma)
    kept = values > values[-1].clamp(min=0) * dim * torch.finfo(torch.float64).eps
    root = vectors[:, kept] * values[kept].sqrt()
    return root if basis is None else basis @ root

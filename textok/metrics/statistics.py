"""Mean and covariance of features, from sums that are exact at any batch size and over any number of ranks."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from textok.metrics.distributed import sum_over_ranks


@dataclass(frozen=True)
class Gaussian:
    """The mean and covariance of a set of features, what a Fréchet distance compares.

    Args:
        mean: (F,) float64.
        covariance: (F, F) float64, unbiased (divided by n − 1).
        count: Number of images; None where a published file does not say.
    """

    mean: Tensor
    covariance: Tensor
    count: int | None

    @staticmethod
    def of(rows: Tensor) -> Gaussian:
        """The statistics of features (n, F)."""
        rows = rows.double()
        return Gaussian(rows.mean(dim=0), torch.cov(rows.T, correction=1).reshape(rows.shape[1], -1), len(rows))


class FeatureStatistics:
    """Accumulates a feature's count, sum and sum of outer products in float64.

    A covariance is a small difference of such sums, which float32 would lose as images are added.

    Args:
        dim: Width F of the feature.
    """

    def __init__(self, dim: int) -> None:
        self.dim = dim
        self.reset()

    def reset(self) -> None:
        self._count = 0
        self._sum: Tensor | None = None
        self._outer: Tensor | None = None

    def update(self, rows: Tensor) -> None:
        """Add features (n, F)."""
        if rows.dim() != 2 or rows.shape[1] != self.dim:
            raise ValueError(f"features must be (n, {self.dim}), got {tuple(rows.shape)}")
        if len(rows) == 0:
            return
        # Apple's GPUs have no float64.
        rows = rows.detach().to("cpu" if rows.device.type == "mps" else rows.device).double()
        if self._outer is None:
            self._sum, self._outer = rows.new_zeros(self.dim), rows.new_zeros(self.dim, self.dim)
        self._count += len(rows)
        self._sum += rows.sum(dim=0)
        self._outer.addmm_(rows.T, rows)

    def compute(self) -> Gaussian:
        """The statistics over everything added on all ranks, on the CPU; every rank has to call it.

        Raises:
            ValueError: If fewer than two images were added on all ranks together.
        """
        zeros = torch.zeros(1, self.dim, dtype=torch.float64)
        total = zeros[0] if self._sum is None else self._sum.cpu()
        outer = zeros.T @ zeros if self._outer is None else self._outer.cpu()
        count = int(sum_over_ranks(torch.tensor(self._count)))
        total, outer = sum_over_ranks(total), sum_over_ranks(outer)
        if count < 2:
            raise ValueError(f"a covariance needs at least 2 images, got {count}")
        mean = total / count
        return Gaussian(mean, (outer - count * torch.outer(mean, mean)) / (count - 1), count)

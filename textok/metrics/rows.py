"""Features kept image by image, in the order of the images' indices whatever rank and batch they came in."""

from __future__ import annotations

import torch
from torch import Tensor

from textok.metrics.distributed import gather_rows


class FeatureRows:
    """Accumulates features with their images' indices; the result is sorted by index.

    With a limit it keeps that many images and forgets the others on the way. Which ones is a seeded draw over the
    indices alone, so it is the same whatever order and rank they come in; the first ones would not do, for most
    datasets are sorted by class.

    Args:
        dim: Width F of the feature.
        limit: Images to keep; None keeps all.
        seed: Seed of the draw.
    """

    def __init__(self, dim: int, limit: int | None = None, seed: int = 0) -> None:
        if limit is not None and limit < 1:
            raise ValueError(f"limit must be positive, got {limit}")
        self.dim = dim
        self.limit = limit
        self.seed = seed
        self.reset()

    def reset(self) -> None:
        self._index: list[Tensor] = []
        self._rows: list[Tensor] = []
        self._kept = 0

    def update(self, rows: Tensor, index: Tensor) -> None:
        """Add features (n, F) of the images with these indices (n,)."""
        if rows.dim() != 2 or rows.shape[1] != self.dim:
            raise ValueError(f"features must be (n, {self.dim}), got {tuple(rows.shape)}")
        assert index.shape == rows.shape[:1]
        self._index.append(index.cpu())
        self._rows.append(rows.detach().float().cpu())
        self._kept += len(rows)
        # Twice the limit before it is cut, so that the cost of cutting stays a fraction of that of adding.
        if self.limit is not None and self._kept > 2 * self.limit:
            index, rows = self._keep(torch.cat(self._index), torch.cat(self._rows))
            self._index, self._rows, self._kept = [index], [rows], len(index)

    def compute(self) -> Tensor:
        """(n, F) float32, the rows of all ranks by ascending index, on the first rank; every rank has to call it."""
        index = torch.cat([torch.zeros(0, dtype=torch.int64), *self._index])
        rows = torch.cat([torch.zeros(0, self.dim), *self._rows])
        index, rows = self._keep(index, rows)
        index, rows = self._keep(gather_rows(index), gather_rows(rows))
        return rows[index.argsort()]

    def _keep(self, index: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        if self.limit is None or len(index) <= self.limit:
            return index, rows
        drawn = draw(index, self.seed).argsort()[: self.limit]
        return index[drawn], rows[drawn]


def draw(index: Tensor, seed: int) -> Tensor:
    """(n,) int64: the place of each image in a seeded random order over all indices; a hash, so it needs no state.

    The finaliser of SplitMix64 (Steele et al., "Fast splittable pseudorandom number generators"), in
    integers that wrap.
    """
    x = index.to(torch.int64) + _signed((seed * 0x9E3779B97F4A7C15 + 0x9E3779B97F4A7C15) % 2**64)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        x = (x ^ _shifted(x, shift)) * _signed(factor)
    return x ^ _shifted(x, 31)


def _signed(value: int) -> int:
    return value - 2**64 if value >= 2**63 else value


def _shifted(x: Tensor, bits: int) -> Tensor:
    """A logical shift to the right; torch's repeats the sign."""
    return (x >> bits) & ((1 << (64 - bits)) - 1)

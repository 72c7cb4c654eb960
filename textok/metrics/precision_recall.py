"""Precision and recall of a set of samples: how many lie among the real images, and how many of those they reach."""

from __future__ import annotations

import torch
from torch import Tensor

from textok.metrics.precision import full_precision

NEIGHBOURS = 3
BLOCK = 2048


@torch.no_grad()
def precision_recall(
    samples: Tensor, real: Tensor, neighbours: int = NEIGHBOURS, block: int = BLOCK
) -> tuple[float, float]:
    """The share of samples in the real images' manifold, and the share of real images in the samples'.

    Source: Kynkäänniemi et al., "Improved precision and recall metric", equation 2: a set's manifold is the union of
    balls around its points that reach to the k-th neighbour. Distances are computed in blocks, of which only each row's
    k nearest are kept, so memory does not grow with the square of the number of images.

    Args:
        samples: (n, F) features.
        real: (m, F) features.
        neighbours: k.
        block: Rows and columns of a block of distances.

    Raises:
        ValueError: If a side has no more than k images.
    """
    for name, side in (("samples", samples), ("real images", real)):
        if len(side) <= neighbours:
            raise ValueError(f"precision and recall with k = {neighbours} need more than {neighbours} {name}")
    with full_precision(real.device):
        # |x|² + |y|² − 2 x·y cancels less around the origin.
        centre = real.mean(dim=0)
        samples, real = samples - centre, real - centre
        radii = _radii(samples, neighbours, block), _radii(real, neighbours, block)
        is_precise = torch.zeros(len(samples), dtype=torch.bool, device=real.device)
        is_recalled = torch.zeros(len(real), dtype=torch.bool, device=real.device)
        for rows in _blocks(len(samples), block):
            for columns in _blocks(len(real), block):
                distances = _squared_distances(samples[rows], real[columns])
                is_precise[rows] |= (distances <= radii[1][columns]).any(dim=1)
                is_recalled[columns] |= (distances <= radii[0][rows, None]).any(dim=0)
    return float(is_precise.double().mean()), float(is_recalled.double().mean())


def _radii(points: Tensor, neighbours: int, block: int) -> Tensor:
    """(n,) squared distance of each point to its k-th neighbour; a point is not its own."""
    radii = []
    for rows in _blocks(len(points), block):
        nearest = points.new_full((rows.stop - rows.start, neighbours), torch.inf)
        for columns in _blocks(len(points), block):
            distances = _squared_distances(points[rows], points[columns])
            if rows == columns:
                distances.fill_diagonal_(torch.inf)
            found = distances.topk(min(neighbours, distances.shape[1]), largest=False, sorted=False).values
            nearest = torch.cat([nearest, found], dim=1).topk(neighbours, largest=False, sorted=False).values
        radii.append(nearest.amax(dim=1))
    return torch.cat(radii)


def _squared_distances(x: Tensor, y: Tensor) -> Tensor:
    return torch.addmm(x.square().sum(dim=1)[:, None] + y.square().sum(dim=1), x, y.T, alpha=-2)


def _blocks(count: int, size: int) -> list[slice]:
    return [slice(start, min(start + size, count)) for start in range(0, count, size)]

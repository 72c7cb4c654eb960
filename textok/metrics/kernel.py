"""The kernel distance: KID in Inception features, KED in Lite0's."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

NUM_SUBSETS = 100
SUBSET_SIZE = 1000
SEED = 2020
LARGEST_WHOLE = 50_000_000  # kernel values held at once: 400 MB


def kernel_distance(
    samples: Tensor, real: Tensor, num_subsets: int = NUM_SUBSETS, subset_size: int = SUBSET_SIZE, seed: int = SEED
) -> tuple[float, float]:
    """Mean and standard deviation over random subsets of the unbiased MMD² with the kernel (x·y / F + 1)³.

    Source: Bińkowski et al., "Demystifying MMD GANs", section 4. Subsets are drawn as torch-fidelity draws them, so the
    same features in the same order give its number. It has no bias with few images, unlike the Fréchet distance, and
    slightly negative values mean that the sets are alike.

    Args:
        samples: (n, F) features.
        real: (m, F) features.
        num_subsets: Subsets to draw.
        subset_size: Images of each side in a subset; at most what the smaller side has.
        seed: Seed of the draw.

    Raises:
        ValueError: If a side has fewer than two images.
    """
    subset_size = min(subset_size, len(samples), len(real))
    if subset_size < 2:
        raise ValueError(
            f"the kernel distance needs at least 2 images on either side, got {len(samples)} and {len(real)}"
        )
    if subset_size == len(samples) == len(real):
        num_subsets = 1  # every subset is the whole set in another order
    generator = np.random.RandomState(seed)
    # In float64: the distance is a small difference of large sums.
    x, y = samples.double(), real.double()
    # The kernels of all images once, where that is less work than those of every subset, and not too much memory.
    pairs = len(x) ** 2 + len(x) * len(y) + len(y) ** 2
    whole = pairs <= min(3 * num_subsets * subset_size**2, LARGEST_WHOLE)
    kernels = _kernels(x, y) if whole else None
    distances = []
    for _ in range(num_subsets):
        i, j = (
            torch.from_numpy(generator.choice(len(side), subset_size, replace=False)).to(side.device) for side in (x, y)
        )
        if whole:
            subset = tuple(k[a][:, b] for k, (a, b) in zip(kernels, ((i, i), (i, j), (j, j))))
        else:
            subset = _kernels(x[i], y[j])
        distances.append(_mmd(*subset))
    return float(np.mean(distances)), float(np.std(distances))


def _mmd(k_xx: Tensor, k_xy: Tensor, k_yy: Tensor) -> float:
    """The unbiased estimate of MMD² from the kernels within and between two sets of one size."""
    m = len(k_xx)
    within = sum(k.sum() - k.diagonal().sum() for k in (k_xx, k_yy)) / (m * (m - 1))
    return float(within - 2 * k_xy.mean())


def _kernels(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    return tuple((a @ b.T / a.shape[1] + 1).pow_(3) for a, b in ((x, x), (x, y), (y, y)))

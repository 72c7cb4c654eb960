"""Structural similarity, in the convention of scikit-image and of Wang et al. (2004)."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from textok.metrics.accumulator import PairedMean

SIGMA = 1.5
RADIUS = 5  # scikit-image truncates the window at 3.5 σ: int(3.5 * 1.5 + 0.5) pixels to either side, 11 taps.
#: Wang et al.'s constants K1 = 0.01 and K2 = 0.03, times the range of bytes, squared.
C1, C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2


class SSIM(PairedMean):
    """The mean over images of SSIM, each channel on its own, without the border that the window does not cover.

    Equal to ``skimage.metrics.structural_similarity(gaussian_weights=True, sigma=1.5, use_sample_covariance=False,
    data_range=255, channel_axis=...)``. Not torchmetrics': it keeps the reflected border in its mean, and its window, a
    convolution of 11 × 11 float64 numbers, took a CPU longer than everything else that a validation measures
    (``benchmarks/evaluation.py``).
    """

    name = "ssim"

    def conventions(self) -> dict[str, Any]:
        window = f"Gaussian, sigma {SIGMA}, {2 * RADIUS + 1} pixels, border dropped"
        return {"mean": "over images", "window": window, "channels": "each on its own, of bytes"}

    def scores(self, originals: Tensor, reconstructions: Tensor) -> Tensor:
        height, width = originals.shape[-2:]
        if min(height, width) < 2 * RADIUS + 1:
            raise ValueError(
                f"SSIM needs images of at least {2 * RADIUS + 1} pixels a side (its window), got {height}x{width}: "
                "leave SSIM out of the metrics"
            )
        # In float64: E[x²] − E[x]² cancels, and neither TF32 nor autocast touches float64.
        dtype = torch.float32 if originals.device.type == "mps" else torch.float64
        x, y = originals.to(dtype), reconstructions.to(dtype)
        mean_x, mean_y = _windowed(x), _windowed(y)
        var_x = _windowed(x * x) - mean_x * mean_x
        var_y = _windowed(y * y) - mean_y * mean_y
        covariance = _windowed(x * y) - mean_x * mean_y
        luminance = (2 * mean_x * mean_y + C1) / (mean_x * mean_x + mean_y * mean_y + C1)
        contrast = (2 * covariance + C2) / (var_x + var_y + C2)  # and structure
        return (luminance * contrast).flatten(1).mean(dim=1)


def _windowed(maps: Tensor) -> Tensor:
    """(B, C, H, W) → (B, C, H − 2·RADIUS, W − 2·RADIUS): means under the window, rows after columns."""
    weights = [math.exp(-0.5 * (i / SIGMA) ** 2) for i in range(-RADIUS, RADIUS + 1)]
    total = sum(weights)
    for dim in (-2, -1):
        size = maps.shape[dim] - 2 * RADIUS
        means = torch.zeros_like(maps.narrow(dim, 0, size))
        for i, weight in enumerate(weights):
            means.add_(maps.narrow(dim, i, size), alpha=weight / total)
        maps = means
    return maps

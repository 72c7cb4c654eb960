"""Structural similarity, in the convention of scikit-image and of Wang et al. (2004)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from textok.metrics.accumulator import PairedMean

SIGMA = 1.5
RADIUS = 5  # scikit-image truncates the window at 3.5 σ: int(3.5 * 1.5 + 0.5) pixels to either side, 11 taps.


class SSIM(PairedMean):
    """The mean over images of SSIM, each channel on its own, without the border that the window does not cover.

    Equal to ``skimage.metrics.structural_similarity(gaussian_weights=True, sigma=1.5, use_sample_covariance=False,
    data_range=255, channel_axis=...)``. torchmetrics keeps the reflected border in its mean: its map is cropped here.
    """

    name = "ssim"

    def conventions(self) -> dict[str, Any]:
        window = f"Gaussian, sigma {SIGMA}, {2 * RADIUS + 1} pixels, border dropped"
        return {"mean": "over images", "window": window, "channels": "each on its own, of bytes"}

    def scores(self, originals: Tensor, reconstructions: Tensor) -> Tensor:
        # torchmetrics takes seconds to import.
        from torchmetrics.functional.image import structural_similarity_index_measure

        height, width = originals.shape[-2:]
        if min(height, width) < 2 * RADIUS + 1:
            raise ValueError(
                f"SSIM needs images of at least {2 * RADIUS + 1} pixels a side (its window), got {height}x{width}: "
                "leave SSIM out of the metrics"
            )
        # In float64: E[x²] − E[x]² cancels, and neither TF32 nor autocast touches float64.
        dtype = torch.float32 if originals.device.type == "mps" else torch.float64
        _, similarity = structural_similarity_index_measure(
            reconstructions.to(dtype),
            originals.to(dtype),
            sigma=SIGMA,
            data_range=255.0,
            reduction="none",
            return_full_image=True,
        )  # (B, 3, H, W)
        return similarity[..., RADIUS:-RADIUS, RADIUS:-RADIUS].flatten(1).mean(dim=1)

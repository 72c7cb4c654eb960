"""Peak signal-to-noise ratio, averaged over images."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from textok.metrics.accumulator import PairedMean

# Rounding a continuous value to an integer makes an error with this variance, so an error below it is not measurable
# in bytes. It caps the score at 58.92 dB; without a cap one identical pair would make the mean infinite.
SMALLEST_MSE = 1 / 12


class PSNR(PairedMean):
    """The mean over images of 10 log₁₀(255² / MSE), each image's error taken over its pixels and channels in bytes.

    This is the convention of the tokenizer papers; pooling the error over images first (torchmetrics' default) gives a
    lower number. An error below 1/12, the variance of rounding to bytes, counts as 1/12: identical images score 58.92.
    """

    name = "psnr"

    def conventions(self) -> dict[str, Any]:
        return {"mean": "over images", "error": "bytes, at least 1/12"}

    def scores(self, originals: Tensor, reconstructions: Tensor) -> Tensor:
        # Squared differences of bytes are integers: exact, and their sum fits int64 at any size.
        difference = originals.int() - reconstructions.int()
        errors = difference.square().flatten(1).sum(dim=1, dtype=torch.int64)
        floor = SMALLEST_MSE * originals[0].numel()
        peak = 255.0**2 * originals[0].numel()
        dtype = torch.float32 if errors.device.type == "mps" else torch.float64
        return 10.0 * torch.log10(peak / errors.to(dtype).clamp(min=floor))

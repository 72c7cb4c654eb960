"""Exact measurement: accumulators that give one number at any batch size and on any number of processes."""

from textok.metrics.accumulator import Accumulator, PairedMean
from textok.metrics.psnr import PSNR
from textok.metrics.ssim import SSIM

__all__ = ["PSNR", "SSIM", "Accumulator", "PairedMean"]

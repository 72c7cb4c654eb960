"""Accumulators: add batches, then compute.

What a metric gathers is a sum over images in float64, so neither the batch size nor the number of processes shows in
the result; samples that only pad a short batch or rank are left out. No Lightning here: callbacks and commands share
these classes.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import Tensor

from textok.metrics.distributed import sum_over_ranks
from textok.types import to_uint8


class Accumulator(ABC):
    """Base of all metrics; a subclass documents what its ``update`` takes."""

    def load(self) -> None:  # noqa: B027
        """Load the network, if the metric has one; to be called at the start, where missing weights shall be noticed.

        Raises:
            FileNotFoundError: If there are no weights.
        """

    def conventions(self) -> dict[str, Any]:
        """What another lab has to know to get the same number from the same images."""
        return {}

    @abstractmethod
    def reset(self) -> None:
        """Forget everything that was added."""

    @abstractmethod
    def update(self, *args: Tensor, valid: Tensor | None = None) -> None:
        """Add a batch; rows where ``valid`` (B,) is False are left out."""

    @abstractmethod
    def compute(self) -> dict[str, float]:
        """Names to numbers over everything added on all ranks; every rank has to call it, and may go on adding."""


class PairedMean(Accumulator):
    """The mean over images of a number that each pair of original and reconstruction has.

    A subclass gives the number's ``name`` and its ``scores``.
    """

    name: str

    def __init__(self) -> None:
        self.reset()

    @abstractmethod
    def scores(self, originals: Tensor, reconstructions: Tensor) -> Tensor:
        """(B,) one score a pair of uint8 images (B, 3, H, W)."""

    def reset(self) -> None:
        self._sums: Tensor | None = None

    @torch.no_grad()
    def update(self, originals: Tensor, reconstructions: Tensor, valid: Tensor | None = None) -> None:
        """Add a batch of pairs.

        A pair with a NaN or an infinity counts as NaN, and so does the mean: rounding to bytes would hide it.

        Args:
            originals: (B, 3, H, W) uint8, or float in [−1, 1], which is rounded to bytes first.
            reconstructions: The same, in the same order.
            valid: (B,) bool; False for pairs to leave out.
        """
        if originals.shape != reconstructions.shape:
            raise ValueError(
                f"originals {tuple(originals.shape)} and reconstructions {tuple(reconstructions.shape)} differ in shape"
            )
        scores = self.scores(_to_bytes(originals), _to_bytes(reconstructions))
        for images in (originals, reconstructions):
            if images.is_floating_point():
                scores = scores.masked_fill(~images.isfinite().flatten(1).all(dim=1), torch.nan)
        if valid is None:
            valid = torch.ones(len(scores), dtype=torch.bool, device=scores.device)
        # Apple's GPUs have no float64.
        device = torch.device("cpu") if scores.device.type == "mps" else scores.device
        scores, valid = scores.to(device), valid.to(device)
        batch = torch.stack([torch.where(valid, scores.double(), 0.0).sum(), valid.sum().double()])
        self._sums = batch if self._sums is None else self._sums + batch

    def compute(self) -> dict[str, float]:
        """The mean over all images.

        Raises:
            ValueError: If no image was added on any rank.
        """
        sums = torch.zeros(2, dtype=torch.float64) if self._sums is None else self._sums
        total, count = sum_over_ranks(sums).tolist()
        if count == 0:
            raise ValueError(f"{self.name} over no image: the data is empty or all of it is padding")
        return {self.name: total / count}


def _to_bytes(images: Tensor) -> Tensor:
    return to_uint8(images) if images.is_floating_point() else images

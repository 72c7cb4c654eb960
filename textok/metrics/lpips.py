"""LPIPS, averaged over images."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import Tensor

from textok.frozen import Frozen
from textok.frozen.weights import BACKBONES, lpips_network
from textok.metrics.accumulator import PairedMean
from textok.metrics.features import describe_file
from textok.metrics.precision import full_precision
from textok.types import from_uint8

#: Fewest pixels a side that the backbone's poolings leave anything of.
SMALLEST = {"vgg": 16, "alex": 31, "squeeze": 17}


class LPIPS(PairedMean):
    """The mean over images of LPIPS v0.1; network and calibration are those of the ``lpips`` package.

    Both images are rounded to bytes first. ``load`` it before the first update.

    Source: Zhang et al., "The Unreasonable Effectiveness of Deep Features as a Perceptual Metric".

    Args:
        net: Network: alex (what lpips' authors and most tables report), vgg or squeeze.
        weights: File with torchvision's ImageNet weights of that network; null takes them from torch's hub folder,
            ``$TORCH_HOME/hub/checkpoints``, and fetches them if they are not there.
    """

    name = "lpips"

    def __init__(self, net: str = "alex", weights: Path | None = None) -> None:
        super().__init__()
        if net not in BACKBONES:
            raise ValueError(f"net must be one of {', '.join(BACKBONES)}, got {net!r}")
        self.net = net
        self.weights = None if weights is None else Path(weights)
        self.frozen = Frozen()
        self._file: Path | None = None

    def load(self) -> None:
        """Load the network; a second call does nothing.

        Raises:
            FileNotFoundError: If the weights are neither on disk nor to be had from the network.
            ValueError: If they are those of another network.
        """
        if self.frozen.is_loaded:
            return
        import lpips

        instead = "leave LPIPS out of the metrics"
        self.frozen.network, self._file = lpips_network(lpips.LPIPS, self.net, self.weights, instead)

    def scores(self, originals: Tensor, reconstructions: Tensor) -> Tensor:
        height, width = originals.shape[-2:]
        if min(height, width) < SMALLEST[self.net]:
            raise ValueError(
                f"LPIPS ({self.net}) needs images of at least {SMALLEST[self.net]} pixels a side, "
                f"got {height}x{width}: leave LPIPS out of the metrics"
            )
        self.frozen.to(originals.device)
        with full_precision(originals.device):
            return self.frozen.network(from_uint8(originals), from_uint8(reconstructions)).flatten()  # (B,)

    def conventions(self) -> dict[str, Any]:
        told = {"mean": "over images", "network": f"LPIPS v0.1, {self.net}"}
        return told if self._file is None else {**told, **describe_file(self._file)}

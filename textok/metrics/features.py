"""Feature extractors: frozen networks in whose features two sets of images are compared.

A distance belongs to the network it was measured with, so each extractor says which results it entitles to: only the
reference Inception makes a FID.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from textok.frozen import Frozen
from textok.metrics.precision import full_precision
from textok.storage import sha256

# Images a CPU's core takes at a time, whatever the batch: its caches hold the activations of few. The gain against 64
# at once is printed by benchmarks/evaluation.py.
IMAGES_PER_THREAD = 2


@dataclass(frozen=True)
class Measure:
    """What a result is computed from.

    Args:
        kind: ``frechet`` and ``kernel`` distances, ``score`` (the Inception score), ``precision`` and ``recall``.
        feature: Name of the feature it reads.
    """

    kind: Literal["frechet", "kernel", "score", "precision", "recall"]
    feature: str


class FeatureExtractor(Frozen, ABC):
    """Base of the extractors: uint8 images → named features. ``load`` it before the first forward.

    Attributes:
        name: Name of the feature space; distances of different spaces cannot be compared.
        dims: Width of every feature.
        measures: The results it entitles to, by their key: what each one is and which feature it reads.
    """

    name: ClassVar[str]
    dims: Mapping[str, int]
    measures: ClassVar[Mapping[str, Measure]]

    @abstractmethod
    def load(self) -> None:
        """Load the weights; a second call does nothing.

        Raises:
            FileNotFoundError: If they are neither on disk nor to be had from the network.
        """

    @abstractmethod
    def features(self, images: Tensor) -> dict[str, Tensor]:
        """Uint8 images (B, 3, H, W) → each feature as (B, width)."""

    @abstractmethod
    def describe(self) -> dict[str, Any]:
        """What another lab has to know to get the same features: network, weights' file and hash, resize.

        It is part of the key under which reference statistics are cached.
        """

    @property
    def device(self) -> torch.device:
        return next(self.network.parameters()).device

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Uint8 images (B, 3, H, W) on any device → each feature as float32 (B, width) on the extractor's.

        Neither autocast nor TF32 around it has an effect.

        Raises:
            ValueError: If the images are not uint8 or have another shape.
        """
        if images.dtype != torch.uint8 or images.dim() != 4 or images.shape[1] != 3:
            raise ValueError(
                f"{type(self).__name__} takes uint8 images (B, 3, H, W), got {images.dtype} {tuple(images.shape)}"
            )
        with torch.no_grad(), full_precision(self.device):
            images = images.to(self.device)
            on_cpu = self.device.type == "cpu"
            parts = images.split(IMAGES_PER_THREAD * torch.get_num_threads()) if on_cpu else [images]
            features = [self.features(part) for part in parts]
        return {name: torch.cat([part[name] for part in features]).float() for name in features[0]}


def describe_file(path: Path) -> dict[str, str]:
    """A weights' file as a description names it: without its folder, which differs from machine to machine."""
    return {"weights": path.name, "weights_sha256": sha256(path)}

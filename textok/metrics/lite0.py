"""EfficientNet-Lite0 as a feature space: its weights come inside a Python package, so it works without a network."""

from __future__ import annotations

from typing import Any, ClassVar

from torch import Tensor

from textok.frozen import Lite0
from textok.frozen.lite0 import weight_file
from textok.metrics.features import FeatureExtractor, Measure, describe_file
from textok.types import from_uint8


class Lite0FeatureExtractor(FeatureExtractor):
    """The pooled features of EfficientNet-Lite0, for FED and KED: Fréchet and kernel distance, never called FID or KID.

    Args:
        image_size: Images are resized to it, with antialiasing. The network was trained at 224 pixels; at fewer it is
            faster and another feature space.
    """

    name = "lite0"
    dims: ClassVar[dict[str, int]] = {"pooled": 1280}
    measures: ClassVar[dict[str, Measure]] = {
        "fed": Measure("frechet", "pooled"),
        "ked": Measure("kernel", "pooled"),
        "precision_lite0": Measure("precision", "pooled"),
        "recall_lite0": Measure("recall", "pooled"),
    }

    def __init__(self, image_size: int = 224) -> None:
        super().__init__()
        self.lite0 = Lite0(image_size)
        self._description: dict[str, Any] = {}

    def load(self) -> None:
        """Load the weights; a second call does nothing.

        Raises:
            ModuleNotFoundError: If the package with the weights is not installed.
        """
        if self.is_loaded:
            return
        self.lite0.load()
        self.network = self.lite0.network
        size = self.lite0.image_size
        self._description = {
            "name": self.name,
            "network": "EfficientNet-Lite0 (ImageNet-1k), pooled features",
            **describe_file(weight_file()),
            "resize": f"{size}x{size}, bilinear with antialiasing",
        }

    def features(self, images: Tensor) -> dict[str, Tensor]:
        return {"pooled": self.lite0(from_uint8(images)).pooled}  # (B, 1280)

    def describe(self) -> dict[str, Any]:
        assert self._description, "load() comes first: the weights' hash is part of the description"
        return dict(self._description)

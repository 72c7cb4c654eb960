"""The reference Inception: torch-fidelity's port of the TensorFlow network behind every published FID."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from textok.frozen.weights import find_weights, read_weights
from textok.metrics.features import FeatureExtractor, Measure, describe_file

URL = "https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/weights-inception-2015-12-05-6726825d.pth"
SPATIAL_CHANNELS = 7
INSTEAD = "Lite0FeatureExtractor needs no download (FED and KED, which are not FID)"


class InceptionFeatures(FeatureExtractor):
    """Inception v3 of 2015-12-05, for FID, sFID, KID, Inception score, precision and recall.

    Network and resize are torch-fidelity's: TensorFlow 1's bilinear resize to 299, without antialiasing. (torchmetrics'
    FID switches antialiasing on by default and truncates floats to bytes, which gives other numbers; torchmetrics 1.9.)

    Args:
        weights: File with torch-fidelity's weights; null takes them from torch's hub folder,
            ``$TORCH_HOME/hub/checkpoints``, and fetches them if they are not there.
    """

    name = "inception"
    dims: ClassVar[dict[str, int]] = {"2048": 2048, "logits_unbiased": 1008, "spatial": SPATIAL_CHANNELS * 17 * 17}
    measures: ClassVar[dict[str, Measure]] = {
        "fid": Measure("frechet", "2048"),
        "kid": Measure("kernel", "2048"),
        "sfid": Measure("frechet", "spatial"),
        "is": Measure("score", "logits_unbiased"),
        "precision": Measure("precision", "2048"),
        "recall": Measure("recall", "2048"),
    }

    def __init__(self, weights: Path | None = None) -> None:
        super().__init__()
        self.weights = None if weights is None else Path(weights)
        self._description: dict[str, Any] = {}
        self._spatial: Tensor | None = None

    def load(self) -> None:
        """Load the weights; a second call does nothing.

        Raises:
            FileNotFoundError: If they are neither on disk nor to be had from the network.
            ValueError: If the file holds another network, or is damaged.
        """
        if self.is_loaded:
            return
        path = find_weights("Inception (FID, sFID, KID, IS, precision, recall)", URL, self.weights, INSTEAD)
        network = _build(path)
        # ADM reads TensorFlow's tensor "mixed_6/conv:0": the 1x1 branch, after its norm and ReLU, of the block that is
        # called Mixed_6d here. torch-fidelity does not offer it.
        network.Mixed_6d.branch1x1.register_forward_hook(self._keep_spatial)
        # Channels last: faster on a CPU, and the same features but for rounding.
        self.network = network.to(memory_format=torch.channels_last)
        self._description = {
            "name": self.name,
            "network": "Inception v3 2015-12-05 (torch-fidelity inception-v3-compat)",
            **describe_file(path),
            "resize": "299x299, bilinear as in TensorFlow 1, no antialiasing",
        }

    def features(self, images: Tensor) -> dict[str, Tensor]:
        pooled, logits = self.network(images)
        spatial, self._spatial = self._spatial, None
        return {"2048": pooled, "logits_unbiased": logits, "spatial": spatial}

    def describe(self) -> dict[str, Any]:
        assert self._description, "load() comes first: the weights' hash is part of the description"
        return dict(self._description)

    def _keep_spatial(self, _module: nn.Module, _inputs: tuple, output: Tensor) -> None:
        # ADM's evaluator: `spatial[..., :7]` of the 17 x 17 map, flattened.
        self._spatial = output[:, :SPATIAL_CHANNELS].flatten(1)  # (B, 2023)


def _build(path: Path) -> nn.Module:
    """torch-fidelity's network with the weights of a file."""
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    # torch-fidelity unpickles whatever it is given: read the file as tensors only before it does.
    read_weights(path)
    try:
        with torch.device("cpu"):  # real weights, even where the model around is built on the meta device
            return FeatureExtractorInceptionV3("inception-v3-compat", ["2048", "logits_unbiased"], str(path))
    except RuntimeError as error:
        raise ValueError(f"{path} does not hold torch-fidelity's Inception: get {URL}") from error

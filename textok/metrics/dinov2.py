"""DINOv2 as a feature space, through torch-fidelity: distances nearer to human judgement than Inception's."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from textok.metrics.features import FeatureExtractor, Measure, describe_file

# torch-fidelity's name → (width, file that facebookresearch/dinov2 fetches into torch's hub folder).
MODELS = {
    "dinov2-vit-s-14": (384, "dinov2_vits14_pretrain.pth"),
    "dinov2-vit-b-14": (768, "dinov2_vitb14_pretrain.pth"),
    "dinov2-vit-l-14": (1024, "dinov2_vitl14_pretrain.pth"),
    "dinov2-vit-g-14": (1536, "dinov2_vitg14_pretrain.pth"),
}
REPOSITORY = "facebookresearch_dinov2_main"


class DINOv2Features(FeatureExtractor):
    """DINOv2's image features: FD-DINOv2, KD-DINOv2, precision and recall.

    Source: Stein et al., "Exposing flaws of generative model evaluation metrics"; network and resize are
    torch-fidelity's, code and weights come through torch's hub folder.

    Args:
        model: dinov2-vit-s-14, dinov2-vit-b-14, dinov2-vit-l-14 (the published one) or dinov2-vit-g-14.
    """

    name = "dinov2"
    measures: ClassVar[dict[str, Measure]] = {
        "fd_dinov2": Measure("frechet", "dinov2"),
        "kd_dinov2": Measure("kernel", "dinov2"),
        "precision_dinov2": Measure("precision", "dinov2"),
        "recall_dinov2": Measure("recall", "dinov2"),
    }

    def __init__(self, model: str = "dinov2-vit-l-14") -> None:
        super().__init__()
        if model not in MODELS:
            raise ValueError(f"model must be one of {', '.join(MODELS)}, got {model!r}")
        self.model = model
        self.dims = {"dinov2": MODELS[model][0]}
        self._description: dict[str, Any] = {}

    def load(self) -> None:
        """Load the network; a second call does nothing.

        Raises:
            FileNotFoundError: If code or weights are neither in torch's hub folder nor to be had from the network.
        """
        if self.is_loaded:
            return
        from torch_fidelity.feature_extractor_dinov2 import FeatureExtractorDinoV2

        folder, file = Path(torch.hub.get_dir()), MODELS[self.model][1]
        try:
            with torch.device("cpu"):
                network = FeatureExtractorDinoV2(self.model, ["dinov2"])
        except OSError as error:
            raise FileNotFoundError(
                f"DINOv2 needs the repository facebookresearch/dinov2 in {folder / REPOSITORY} and {file} in "
                f"{folder / 'checkpoints'}, and they could not be fetched ({error}). On a machine with a network run "
                f"torch.hub.load('facebookresearch/dinov2', '{file.removesuffix('_pretrain.pth')}') and copy its "
                "torch.hub.get_dir() here, or set TORCH_HOME to where it is; Lite0FeatureExtractor needs no download."
            ) from error
        self.network = network
        self._description = {
            "name": self.name,
            "network": f"{self.model} (torch-fidelity)",
            **describe_file(folder / "checkpoints" / file),
            "resize": "224x224, bilinear as in TensorFlow 1, no antialiasing",
        }

    def features(self, images: Tensor) -> dict[str, Tensor]:
        return {"dinov2": self.network(images)[0]}

    def describe(self) -> dict[str, Any]:
        assert self._description, "load() comes first: the weights' hash is part of the description"
        return dict(self._description)

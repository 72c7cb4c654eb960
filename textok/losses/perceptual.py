"""Perceptual losses: how far a reconstruction is from its picture in the eyes of a frozen classifier.

The networks live in ``Frozen``: they are in no optimiser, average or checkpoint, and their weights come with ``load``.
Only the reconstruction gets a gradient; the picture's features are computed without one.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from textok.frozen import Frozen, Lite0, LogitNetwork
from textok.frozen.resize import resize
from textok.frozen.weights import BACKBONES, lpips_network
from textok.losses.precision import full


class PerceptualLoss(nn.Module, ABC):
    """Base of the perceptual losses: a distance of features. ``load`` it before the first forward."""

    @abstractmethod
    def load(self) -> None:
        """Load the frozen network; a second call does nothing."""

    @abstractmethod
    def features(self, images: Tensor) -> Sequence[Tensor]:
        """Images (B, 3, H, W) in [−1, 1] → the tensors that are compared."""

    @abstractmethod
    def distance(self, features: Sequence[Tensor], target: Sequence[Tensor]) -> Tensor:
        """The distance of two results of ``features``, a scalar."""

    def forward(self, reconstruction: Tensor, image: Tensor) -> Tensor:
        """Two (B, 3, H, W) in [−1, 1] → a scalar."""
        with torch.no_grad():
            target = self.features(full(image))
        return self.distance(self.features(full(reconstruction)), target)


class LPIPSLoss(PerceptualLoss):
    """LPIPS v0.1, the mean over the batch; network and calibration are those of the ``lpips`` package.

    Source: Zhang et al., "The Unreasonable Effectiveness of Deep Features as a Perceptual Metric".

    Args:
        net: Network: vgg, alex or squeeze. For training it is vgg.
        weights: File with torchvision's ImageNet weights of that network; null takes them from torch's hub folder,
            ``$TORCH_HOME/hub/checkpoints``, and fetches them if they are not there.
    """

    def __init__(self, net: str = "vgg", weights: Path | None = None) -> None:
        super().__init__()
        if net not in BACKBONES:
            raise ValueError(f"net must be one of {', '.join(BACKBONES)}, got {net!r}")
        self.net = net
        self.weights = None if weights is None else Path(weights)
        self.frozen = Frozen()

    def load(self) -> None:
        """Load the network; a second call does nothing.

        Raises:
            FileNotFoundError: If the weights are neither on disk nor to be had from the network.
            ValueError: If they are those of another network.
        """
        if self.frozen.is_loaded:
            return
        import lpips

        instead = "Lite0PerceptualLoss needs no download"
        self.frozen.network, _ = lpips_network(lpips.LPIPS, self.net, self.weights, instead)

    def features(self, images: Tensor) -> Sequence[Tensor]:
        network = self.frozen.network
        return [unit(level) for level in network.net(network.scaling_layer(images))]

    def distance(self, features: Sequence[Tensor], target: Sequence[Tensor]) -> Tensor:
        levels = zip(self.frozen.network.lins, features, target)
        return sum(full(linear((a - b).square())).mean() for linear, a, b in levels)


class LogitPerceptualLoss(PerceptualLoss):
    """The mean squared difference of a classifier's logits: MAGVIT with ResNet-50, TiTok with ConvNeXt-S.

    Args:
        model_name: Name in timm: resnet50.tv_in1k as MAGVIT, convnext_small.fb_in1k as TiTok, or any classifier.
        weights: File with the weights (.pth or .safetensors); null takes them from the hub or its local cache.
        image_size: Both images are resized to it, with antialiasing.
    """

    def __init__(
        self, model_name: str = "resnet50.tv_in1k", weights: Path | None = None, image_size: int = 224
    ) -> None:
        super().__init__()
        self.classifier = LogitNetwork(model_name, weights, image_size)

    def load(self) -> None:
        self.classifier.load()

    def features(self, images: Tensor) -> Sequence[Tensor]:
        return [self.classifier(images)]

    def distance(self, features: Sequence[Tensor], target: Sequence[Tensor]) -> Tensor:
        return (full(features[0]) - full(target[0])).square().mean()


class Lite0PerceptualLoss(PerceptualLoss):
    """The distance of EfficientNet-Lite0's features, whose weights come inside a Python package. It is not LPIPS.

    Built like LPIPS without its calibration: at each stage the channels of a position are scaled to unit length, and
    the squared distance is averaged over positions; then over stages.

    Args:
        image_size: Smaller images are enlarged to it; larger ones stay. The network was trained at 224 pixels and its
            first layer halves the size, so that small images say little at their own size.
        num_stages: Stages that are compared, 1 to 5; the n-th has 1/2ⁿ of the image's size. Further ones cost time and
            see little of a small image.
    """

    def __init__(self, image_size: int = 64, num_stages: int = 4) -> None:
        super().__init__()
        if not 1 <= num_stages <= 5:
            raise ValueError(f"num_stages must be 1 to 5, got {num_stages}")
        self.image_size = image_size
        self.num_stages = num_stages
        self.lite0 = Lite0(image_size=None)

    def load(self) -> None:
        self.lite0.load()

    def features(self, images: Tensor) -> Sequence[Tensor]:
        if min(images.shape[-2:]) < self.image_size:
            images = resize(images, self.image_size)
        return [unit(stage) for stage in self.lite0.stages(images, self.num_stages)]

    def distance(self, features: Sequence[Tensor], target: Sequence[Tensor]) -> Tensor:
        distances = [(a - b).square().sum(dim=1).mean() for a, b in zip(features, target)]
        return sum(distances) / len(distances)


def unit(features: Tensor) -> Tensor:
    """Features (B, C, h, w) with the channels of each position scaled to unit length, in at least float32.

    The constant is inside the root, unlike lpips': its root has no finite derivative at a position whose channels are
    all zero, and one such position makes the whole gradient NaN.
    """
    features = full(features)
    return features / (features.square().sum(dim=1, keepdim=True) + 1e-20).sqrt()

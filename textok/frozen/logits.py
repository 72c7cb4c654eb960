"""The logits of any image classifier of timm, from images in [−1, 1]."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from textok.frozen.base import Frozen
from textok.frozen.resize import resize


class LogitNetwork(Frozen):
    """A frozen classifier of timm, with its own normalisation of the input.

    Its weights come with the first ``load``: from a file, or from the hub through timm.

    Args:
        model_name: Name in timm, with the tag of its weights.
        weights: File with the weights (.pth or .safetensors); null takes them from the hub or its local cache.
        image_size: Images are resized to it.
    """

    def __init__(
        self, model_name: str = "resnet50.tv_in1k", weights: Path | None = None, image_size: int = 224
    ) -> None:
        super().__init__()
        self.model_name = model_name
        self.weights = None if weights is None else Path(weights)
        self.image_size = image_size

    def load(self) -> None:
        """Load the weights; a second call does nothing.

        Raises:
            ValueError: If timm has no model of that name.
            FileNotFoundError: If the weights are neither in the file nor to be had from the hub.
        """
        if self.is_loaded:
            return
        import timm

        if not timm.is_model(self.model_name):
            raise ValueError(f"timm has no model {self.model_name!r}; timm.list_models(pretrained=True) lists them")
        if self.weights is not None and not self.weights.is_file():
            raise FileNotFoundError(f"weights of {self.model_name}: there is no file {self.weights}")
        overlay = None if self.weights is None else {"file": str(self.weights)}
        try:
            with torch.device("cpu"):  # real weights, even where the model around is built on the meta device
                model = timm.create_model(self.model_name, pretrained=True, pretrained_cfg_overlay=overlay)
        except OSError as error:
            raise FileNotFoundError(self._how_to_get_weights()) from error
        config = timm.data.resolve_data_config(model=model)
        with torch.device("cpu"):
            self.network = nn.Sequential(_Normalise(config["mean"], config["std"]), model)

    def forward(self, images: Tensor) -> Tensor:
        """Images (B, 3, H, W) in [−1, 1] → logits (B, classes)."""
        return self.network(resize(images, self.image_size))

    def _how_to_get_weights(self) -> str:
        from huggingface_hub.constants import HF_HUB_CACHE
        from timm.models import get_pretrained_cfg

        repository = get_pretrained_cfg(self.model_name).hf_hub_id
        return (
            f"the weights of {self.model_name} are neither in the local cache ({HF_HUB_CACHE}) nor could they be "
            f"fetched from huggingface.co/{repository}. With a network: `hf download {repository}`. Without one: copy "
            "the file from a machine that has it and name it in `weights`."
        )


class _Normalise(nn.Module):
    """Images in [−1, 1] → (image in [0, 1] − mean) / std, channel by channel."""

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.register_buffer("scale", 0.5 / torch.tensor(std).view(3, 1, 1))
        self.register_buffer("shift", (0.5 - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(3, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        return images * self.scale + self.shift

"""CLIP score: how well an image fits its caption."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from textok.frozen import Frozen
from textok.metrics.accumulator import Accumulator
from textok.metrics.distributed import sum_over_ranks
from textok.metrics.images import checked_uint8
from textok.metrics.precision import full_precision


class CLIPScore(Accumulator):
    """100 times the mean cosine of CLIP's embeddings of image and caption, not below 0, as torchmetrics computes it.

    torchmetrics' own class breaks on transformers 5 (its features became an object without ``norm``), and it cuts a
    long caption's last token off, at which CLIP reads the text: here the end is kept, as by OpenAI's
    ``clip.tokenize(truncate=True)``. Captions of up to 77 tokens score the same. ``load`` it before the first update.

    Source: Hessel et al., "CLIPScore: A reference-free evaluation metric for image captioning" (without its 2.5).

    Args:
        model: Folder with a CLIP model and its processor, or its name on the hub. Tables report ViT-B/32, ViT-B/16 or
            ViT-L/14: numbers of different models cannot be compared.
    """

    name = "clip_score"

    def __init__(self, model: str = "openai/clip-vit-large-patch14") -> None:
        self.model = str(model)
        self.frozen = Frozen()
        self._processor: Any = None
        self.reset()

    def load(self) -> None:
        """Load the model; a second call does nothing.

        Raises:
            FileNotFoundError: If it is neither in the folder nor to be had from the hub.
        """
        if self.frozen.is_loaded:
            return
        from huggingface_hub.constants import HF_HUB_CACHE
        from transformers import CLIPModel, CLIPProcessor

        try:
            with torch.device("cpu"):  # real weights, whatever device is the default
                network = CLIPModel.from_pretrained(self.model, dtype=torch.float32)
            self._processor = CLIPProcessor.from_pretrained(self.model)
        except OSError as error:
            raise FileNotFoundError(
                f"the CLIP score needs {self.model}, which is neither a folder with a CLIP model and its processor nor "
                f"in the local cache ({HF_HUB_CACHE}), and could not be fetched from huggingface.co. With a network: "
                f"`hf download {self.model}`. Without one: copy its folder and name that in `model`."
            ) from error
        self.frozen.network = network

    def reset(self) -> None:
        self._sums = torch.zeros(3, dtype=torch.float64)
        self.num_cut = 0

    @torch.no_grad()
    def update(self, images: Tensor, captions: Sequence[str], valid: Tensor | None = None) -> None:
        """Add a batch.

        Args:
            images: (B, 3, H, W) uint8, or float in [−1, 1], which is rounded to bytes.
            captions: One caption an image.
            valid: (B,) bool; False for pairs to leave out.

        Raises:
            ValueError: If images and captions differ in number, or an image cannot be measured.
        """
        if len(images) != len(captions):
            raise ValueError(f"{len(images)} images and {len(captions)} captions: there must be one caption an image")
        rows = list(range(len(captions))) if valid is None else valid.nonzero().flatten().tolist()
        if not rows:
            return
        images, captions = checked_uint8(images[rows]), [captions[row] for row in rows]
        self.frozen.to(images.device)
        cut = self._num_cut(captions)
        scores = self.scores(images, captions)
        self._sums += torch.stack([scores.double().sum().cpu(), torch.tensor(len(rows)), torch.tensor(cut)]).double()

    def scores(self, images: Tensor, captions: list[str]) -> Tensor:
        """(B,) 100 times the cosine of each pair of a uint8 image and its caption."""
        network = self.frozen.network
        pixels = self._processor(images=list(images.cpu()), return_tensors="pt")["pixel_values"]
        text = self._processor(
            text=captions, return_tensors="pt", padding=True, truncation=True, max_length=self._limit
        )
        with full_precision(images.device):
            seen = _embedding(network.get_image_features(pixels.to(images.device)))
            read = _embedding(
                network.get_text_features(
                    text["input_ids"].to(images.device), attention_mask=text["attention_mask"].to(images.device)
                )
            )
        return 100 * torch.nn.functional.cosine_similarity(seen, read, dim=-1)

    def compute(self) -> dict[str, float]:
        """The mean over all images; ``num_cut`` tells afterwards how many captions were too long.

        Raises:
            ValueError: If no image was added on any rank.
        """
        total, count, cut = sum_over_ranks(self._sums).tolist()
        if count == 0:
            raise ValueError("CLIP score over no image: the data is empty or all of it is padding")
        self.num_cut = int(cut)
        return {self.name: max(total / count, 0.0)}

    @property
    def warnings(self) -> list[str]:
        """What to know about the last ``compute``."""
        return [f"{self.name}: {self.num_cut} captions were cut to {self._limit} tokens"] if self.num_cut else []

    def conventions(self) -> dict[str, Any]:
        return {
            "mean": "over images, of 100 cos, not below 0",
            "network": self.model,
            "captions": f"cut to {self._limit} tokens, the end token kept",
        }

    @property
    def _limit(self) -> int:
        return self.frozen.network.config.text_config.max_position_embeddings

    def _num_cut(self, captions: list[str]) -> int:
        lengths = self._processor.tokenizer(captions)["input_ids"]
        return sum(len(ids) > self._limit for ids in lengths)


def _embedding(features: Any) -> Tensor:
    """transformers 5 returns the projected embedding as ``pooler_output`` of an object, 4 as it is."""
    return features if isinstance(features, Tensor) else features.pooler_output

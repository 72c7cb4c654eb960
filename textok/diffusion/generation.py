"""From requests to pictures: the one path that training's samples, the library and the commands share.

A request names its class or caption and its noise's seed; the denoiser is walked from that noise to latents, which the
pair decodes with the caption. Nothing of one picture depends on the others in its batch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from textok.diffusion.latents import LatentNormalizer
from textok.diffusion.process import Denoiser, DiffusionProcess
from textok.diffusion.sampler import Sampler
from textok.types import Condition, Request, TextTokens, mix_seed


class Decodes(Protocol):
    """The pair, as far as generation sees it."""

    num_latents: int
    latent_dim: int

    def decode(self, latents: Tensor, text: TextTokens | None, label: Tensor | None) -> Tensor:
        """Latents (B, K, Z) → images (B, 3, H, W)."""
        ...


@dataclass(frozen=True)
class Generation:
    """Makes pictures from requests.

    Args:
        pair: Decodes the latents.
        denoiser: The network, with the weights that samples are made with.
        process: The process that it was trained on.
        sampler: How the process is walked backwards.
        normalizer: Scale of the latents; its device is the one to compute on.
        encode_captions: Text tokens of the captions, or None where no network reads them.
        num_classes: Valid labels are 0 … num_classes − 1.
        class_captions: Captions that a sample of a class may be decoded with; empty where there are none.
    """

    pair: Decodes
    denoiser: Denoiser
    process: DiffusionProcess
    sampler: Sampler
    normalizer: LatentNormalizer
    encode_captions: Callable[[list[str]], TextTokens | None]
    num_classes: int
    class_captions: Sequence[Sequence[str]] = ()

    @torch.no_grad()
    def __call__(self, requests: Sequence[Request]) -> Tensor:
        """Make one picture a request, (B, 3, H, W) in about [−1, 1].

        Raises:
            ValueError: If a label is out of range, or only some of the requests have one.
        """
        label = self._labels(requests)
        text = self.encode_captions([self.caption_of(request) for request in requests])
        noise = [torch.Generator().manual_seed(mix_seed(request.seed, request.index)) for request in requests]
        shape = (self.pair.num_latents, self.pair.latent_dim)
        latents = self.sampler(self.process, self.denoiser, shape, Condition(label=label, text=text), noise)
        return self.pair.decode(self.normalizer.denormalize(latents), text, label)

    def _labels(self, requests: Sequence[Request]) -> Tensor | None:
        labels = [request.label for request in requests if request.label is not None]
        for label in labels:
            if not 0 <= label < self.num_classes:
                raise ValueError(f"label {label} is out of range: there are {self.num_classes} classes")
        if not labels:
            return None
        if len(labels) < len(requests):
            raise ValueError(f"{len(requests) - len(labels)} of {len(requests)} requests of a batch have no label")
        return torch.tensor(labels, device=self.normalizer.mean.device)

    def caption_of(self, request: Request) -> str:
        """The request's caption, or one of its class's: the paper's way to sample a class (section 3.3)."""
        if request.caption is not None:
            return request.caption
        captions = self.class_captions[request.label] if self.class_captions and request.label is not None else ()
        if not captions:
            return ""
        return captions[mix_seed(request.seed, request.index, request.label) % len(captions)]

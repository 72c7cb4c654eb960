"""Latents on the scale that diffusion expects.

A tokenizer's latents have any mean and deviation, while a diffusion process ends in noise of deviation 1: each channel
is standardised by the training set's statistics, which live in the checkpoint.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable

import torch
from torch import Tensor, distributed, nn


class LatentNormalizer(nn.Module):
    """Standardises every channel of the latents over all images and tokens.

    A channel that (nearly) never changes would blow up rounding errors. Its deviation is set to a 10⁻⁴ part of the
    largest channel's, with a warning: it still inverts exactly and stays small.

    Args:
        latent_dim: Channels Z of a latent token.
    """

    SMALLEST_STD = 1e-4

    def __init__(self, latent_dim: int) -> None:
        super().__init__()
        if latent_dim <= 0:
            raise ValueError(f"latent_dim must be positive, got {latent_dim}")
        self.register_buffer("mean", torch.zeros(latent_dim))
        self.register_buffer("std", torch.ones(latent_dim))
        self.register_buffer("fitted", torch.zeros((), dtype=torch.bool))
        self._known_fitted = False

    @property
    def is_fitted(self) -> bool:
        """Whether mean and deviation were measured or loaded."""
        if not self._known_fitted:
            # Read until it is true and never again: each reading makes the host wait for the device.
            self._known_fitted = bool(self.fitted)
        return self._known_fitted

    @torch.no_grad()
    def fit(self, batches: Iterable[Tensor]) -> None:
        """Measure mean and deviation (of the population) by float64 sums, over all ranks.

        Every rank calls this with its own share; a share may be empty.

        Args:
            batches: (B, K, Z) latents, with no sample counted twice.

        Raises:
            ValueError: There are no latents, some are not finite, or no channel changes at all.
        """
        latent_dim = len(self.mean)
        sums = torch.zeros(1 + 2 * latent_dim, dtype=torch.float64)  # count, Σx, Σx²
        for latents in batches:
            if latents.ndim != 3 or latents.shape[-1] != latent_dim:
                raise ValueError(f"expected (B, K, {latent_dim}) latents, got {tuple(latents.shape)}")
            x = latents.flatten(0, 1).to("cpu", torch.float64)
            sums += torch.cat([torch.tensor([float(len(x))], dtype=torch.float64), x.sum(0), x.square().sum(0)])
        if distributed.is_available() and distributed.is_initialized():
            shared = sums.to(self.mean.device)
            distributed.all_reduce(shared)
            sums = shared.cpu()
        self._set(sums[0], *sums[1:].chunk(2))

    def _set(self, count: Tensor, total: Tensor, squares: Tensor) -> None:
        if count == 0:
            raise ValueError("cannot fit the latent normaliser: there are no latents; is the training set empty?")
        mean = total / count
        std = (squares / count - mean.square()).clamp(min=0).sqrt()
        if not std.isfinite().all():
            raise ValueError("cannot fit the latent normaliser: the tokenizer gives latents that are not finite")
        smallest = self.SMALLEST_STD * std.max()
        # Rounding of float64 sums leaves a deviation of this order where there is none.
        if std.max() <= 1e-7 * mean.abs().max():
            raise ValueError("cannot fit the latent normaliser: all latents are the same; is the tokenizer trained?")
        dead = (std < smallest).nonzero().flatten().tolist()
        if dead:
            warnings.warn(f"latent channels {dead} hardly ever change: they carry nothing to generate", stacklevel=3)
        self.mean.copy_(mean)
        self.std.copy_(std.clamp(min=smallest))
        self.fitted.fill_(True)

    def normalize(self, latents: Tensor) -> Tensor:
        """(B, K, Z) of the tokenizer → mean 0 and deviation 1."""
        self._require_fitted()
        return (latents - self.mean) / self.std

    def denormalize(self, latents: Tensor) -> Tensor:
        """(B, K, Z) of the generator → the tokenizer's scale; the inverse of :meth:`normalize`."""
        self._require_fitted()
        return latents * self.std + self.mean

    def _require_fitted(self) -> None:
        if not self.is_fitted:
            raise RuntimeError("the latent normaliser has no statistics yet: call fit(batches) or load a checkpoint")

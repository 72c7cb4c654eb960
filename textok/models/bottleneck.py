"""From transformer width to latent channels: what the generator will have to model.

The paper names no regulariser on its latents, so the plain projection is the default; KL and noise are switches.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from textok.noise import normal_like


class Bottleneck(nn.Module, ABC):
    """Base of all bottlenecks, built as ``bottleneck(width)``.

    Args:
        width: Width D of the tokenizer.
        latent_dim: Channels Z of a latent token.
    """

    def __init__(self, width: int, latent_dim: int = 8) -> None:
        super().__init__()
        if latent_dim <= 0:
            raise ValueError(f"latent_dim must be positive, got {latent_dim}")
        self.latent_dim = latent_dim

    @abstractmethod
    def forward(self, h: Tensor) -> tuple[Tensor, Tensor]:
        """(B, K, D) → latents (B, K, Z) and a penalty (), zero where there is none."""


class PlainBottleneck(Bottleneck):
    """A linear projection and nothing else (TexTok, section 3.2).

    Args:
        width: Width D of the tokenizer.
        latent_dim: Channels Z of a latent token.
    """

    def __init__(self, width: int, latent_dim: int = 8) -> None:
        super().__init__(width, latent_dim)
        self.project = nn.Linear(width, latent_dim)

    def forward(self, h: Tensor) -> tuple[Tensor, Tensor]:
        return self.project(h), h.new_zeros(())


class NoisyBottleneck(PlainBottleneck):
    """A projection with Gaussian noise on the latents in training, which makes the detokenizer robust to the generator.

    Args:
        width: Width D of the tokenizer.
        latent_dim: Channels Z of a latent token.
        std: Standard deviation of the noise, in units of the latents after their layer norm (so that the tokenizer
            cannot outgrow it).

    Raises:
        ValueError: Of fewer than three channels a layer norm leaves nothing: one becomes 0, two become ±1.
    """

    def __init__(self, width: int, latent_dim: int = 8, std: float = 0.1) -> None:
        super().__init__(width, latent_dim)
        if latent_dim < 3:
            raise ValueError(
                f"NoisyBottleneck normalizes each token over its channels and needs 3 of them or more, got latent_dim="
                f"{latent_dim}; KLBottleneck works with any number"
            )
        if std < 0:
            raise ValueError(f"std must not be negative, got {std}")
        self.std = std
        self.norm = nn.LayerNorm(latent_dim, elementwise_affine=False)

    def forward(self, h: Tensor) -> tuple[Tensor, Tensor]:
        latents, penalty = super().forward(h)
        latents = self.norm(latents)
        if self.training:
            latents = latents + self.std * normal_like(latents)
        return latents, penalty


class KLBottleneck(Bottleneck):
    """A diagonal Gaussian with a KL penalty to the unit normal (Kingma & Welling 2014, appendix B).

    It samples in training and gives the mean in evaluation.

    Args:
        width: Width D of the tokenizer.
        latent_dim: Channels Z of a latent token.
    """

    def __init__(self, width: int, latent_dim: int = 8) -> None:
        super().__init__(width, latent_dim)
        self.project = nn.Linear(width, 2 * latent_dim)

    def forward(self, h: Tensor) -> tuple[Tensor, Tensor]:
        mean, log_variance = self.project(h).chunk(2, dim=-1)  # (B, K, 2Z) -> 2 x (B, K, Z)
        # The usual bounds (e^-30 … e^20) keep exp() finite in bf16 and in float32.
        log_variance = log_variance.clamp(-30.0, 20.0)
        kl = 0.5 * (mean.square() + log_variance.exp() - 1.0 - log_variance)
        penalty = kl.to(torch.promote_types(kl.dtype, torch.float32)).sum(dim=(1, 2)).mean()  # nats an image
        if not self.training:
            return mean, penalty
        return mean + torch.exp(0.5 * log_variance) * normal_like(mean), penalty

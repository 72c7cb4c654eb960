"""What a denoiser learns: how latents are noised, what is predicted, and what the prediction costs.

A process owns the training objective and tells a scheduler of ``diffusers`` what it must know to walk the same process
backwards. Network and sampler vary independently of it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection

from torch import Tensor, nn

from textok.types import Condition

#: A network called with (B, K, Z) noisy latents, (B,) float times and a condition; it returns (B, K, out_dim).
Denoiser = Callable[[Tensor, Tensor, Condition], Tensor]


class DiffusionProcess(nn.Module, ABC):
    """Base of all training objectives over latents."""

    @abstractmethod
    def out_dim(self, latent_dim: int) -> int:
        """Channels a token that the denoiser must return.

        Either Z, or 2 Z: then the second half is a variance, for the schedulers that can use one.
        """

    @abstractmethod
    def scheduler_config(self, accepted: Collection[str]) -> dict[str, object]:
        """The settings that a scheduler must have to fit this process.

        Args:
            accepted: Names of the settings that the scheduler knows.

        Returns:
            A value for some of the accepted names.

        Raises:
            ValueError: No settings make this scheduler fit; the message says what it lacks.
        """

    @abstractmethod
    def terms(self, denoiser: Denoiser, latents: Tensor, condition: Condition) -> dict[str, Tensor]:
        """Draw times and noise by :mod:`textok.noise` and measure the denoiser.

        Args:
            denoiser: The network that learns.
            latents: (B, K, Z), normalised.
            condition: What the latents show, B rows.

        Returns:
            (B,) float terms, under their log names; their sum is what is minimised.
        """

    @abstractmethod
    def to_start(self, x: Tensor, t: Tensor, prediction: Tensor) -> Tensor:
        """The clean latents that a prediction amounts to.

        Args:
            x: (B, K, Z) noisy latents.
            t: (B,) float times, as the denoiser is told them; a scheduler may stop between two training times.
            prediction: (B, K, Z) of the denoiser, without a variance.
        """

    @abstractmethod
    def to_prediction(self, x: Tensor, t: Tensor, start: Tensor) -> Tensor:
        """The inverse of :meth:`to_start`: what the denoiser must say for (B, K, Z) clean latents ``start``."""

    def loss(
        self, denoiser: Denoiser, latents: Tensor, condition: Condition, valid: Tensor | None = None
    ) -> dict[str, Tensor]:
        """Scalar terms, averaged over the samples; **their sum is the loss**.

        Args:
            denoiser: The network that learns.
            latents: (B, K, Z), normalised.
            condition: What the latents show, B rows.
            valid: (B,) bool; False at samples to leave out. None counts all.
        """
        terms = self.terms(denoiser, latents, condition)
        if valid is None:
            return {name: term.mean() for name, term in terms.items()}
        count = valid.sum().clamp(min=1)
        return {name: term.where(valid, 0).sum() / count for name, term in terms.items()}

"""Rectified flow: latents and noise joined by straight lines, along which the denoiser learns the velocity."""

from __future__ import annotations

from collections.abc import Collection

import torch
from torch import Tensor

from textok.diffusion.process import Denoiser, DiffusionProcess
from textok.diffusion.times import LogitNormalTime, TimeDistribution
from textok.noise import normal_like
from textok.types import Condition


class RectifiedFlow(DiffusionProcess):
    """Regression of the velocity of straight paths (Liu et al. 2023, "Flow Straight and Fast", eq. 1).

    ``x_t = (1 − t) x_0 + t ε`` for t in [0, 1], target ``ε − x_0``; the denoiser is told ``num_timesteps · t``, the
    clock of the schedulers and the range that its time embedding is made for.

    Args:
        time: Which times are trained on; ``LogitNormalTime`` when None, as in Stable Diffusion 3.
        num_timesteps: The clock's reading at pure noise.
    """

    def __init__(self, time: TimeDistribution | None = None, num_timesteps: int = 1000) -> None:
        super().__init__()
        if num_timesteps < 1:
            raise ValueError(f"num_timesteps must be positive, got {num_timesteps}")
        self.time = LogitNormalTime() if time is None else time
        self.num_timesteps = num_timesteps

    def out_dim(self, latent_dim: int) -> int:
        return latent_dim

    def scheduler_config(self, accepted: Collection[str]) -> dict[str, object]:
        clock = dict(num_train_timesteps=self.num_timesteps)
        if "use_flow_sigmas" in accepted:  # a solver of both worlds, such as UniPC
            return {**clock, "prediction_type": "flow_prediction", "use_flow_sigmas": True}
        if "num_train_timesteps" not in accepted or {"prediction_type", "beta_schedule"} & set(accepted):
            raise ValueError(
                "RectifiedFlow needs a scheduler of straight paths, such as diffusers.FlowMatchEulerDiscreteScheduler, "
                "diffusers.FlowMatchHeunDiscreteScheduler or diffusers.UniPCMultistepScheduler"
            )
        # Dynamic shifting asks for a number at each call; inverted sigmas walk from the latents to the noise.
        where_known = dict(use_dynamic_shifting=False, invert_sigmas=False)
        return {**clock, **{name: value for name, value in where_known.items() if name in accepted}}

    def terms(self, denoiser: Denoiser, latents: Tensor, condition: Condition) -> dict[str, Tensor]:
        return self.terms_at(denoiser, latents, condition, self.time(latents), normal_like(latents))

    def terms_at(
        self, denoiser: Denoiser, latents: Tensor, condition: Condition, time: Tensor, noise: Tensor
    ) -> dict[str, Tensor]:
        """The term at given (B,) times in [0, 1] and (B, K, Z) noise."""
        share = time.to(latents.dtype)[:, None, None]
        noisy = torch.lerp(latents, noise, share)
        # The loss is computed in full precision, whatever the network ran in.
        velocity = denoiser(noisy, time * self.num_timesteps, condition).to(latents.dtype)
        return {"mse": (noise - latents - velocity).square().flatten(1).mean(1)}

    def to_start(self, x: Tensor, t: Tensor, prediction: Tensor) -> Tensor:
        return x - self._share(t, x) * prediction

    def to_prediction(self, x: Tensor, t: Tensor, start: Tensor) -> Tensor:
        return (x - start) / self._share(t, x)

    def _share(self, t: Tensor, like: Tensor) -> Tensor:
        """(B,) readings of the clock → (B, 1, 1) shares of noise."""
        return (t.to(like.dtype) / self.num_timesteps)[:, None, None]

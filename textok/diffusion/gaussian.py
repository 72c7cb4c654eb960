"""The process of DDPM, improved DDPM and DiT: noise of a growing variance, undone step by step."""

from __future__ import annotations

import math
from collections.abc import Collection

import torch
from torch import Tensor

from textok.diffusion.process import Denoiser, DiffusionProcess
from textok.noise import integer_rows, normal_like
from textok.types import Condition


class GaussianDiffusion(DiffusionProcess):
    """The process of DDPM with DiT's objective: ε-prediction, linear β, learned variance.

    ``mse`` is L_simple (Ho et al. 2020, "Denoising Diffusion Probabilistic Models", eq. 14). With a learned variance
    ``vlb`` is added: one term of the variational bound (Nichol and Dhariwal 2021, "Improved Denoising Diffusion
    Probabilistic Models", eq. 16) in bits a dimension, whose gradient reaches the variance alone. Its weight is 1 for
    one random step, as in DiT, which is their λ = 0.001 times the 1000 steps of the bound.

    The tables are computed in float64 and kept in float32. A subclass that predicts something else overrides
    ``target``, ``to_start`` and ``to_prediction`` and names its ``prediction_type``.

    Args:
        num_timesteps: Steps T of the process.
        beta_start: Variance of the first step's noise.
        beta_end: Variance of the last step's noise.
        learned_variance: Whether the denoiser also returns where the reverse step's variance lies in its range.
    """

    #: What the denoiser predicts, in the words of diffusers.
    prediction_type = "epsilon"

    def __init__(
        self,
        num_timesteps: int = 1000,
        beta_start: float = 1e-4,
        beta_end: float = 2e-2,
        learned_variance: bool = True,
    ) -> None:
        super().__init__()
        if num_timesteps < 2:
            raise ValueError(f"num_timesteps must be at least 2, got {num_timesteps}")
        if not 0 < beta_start <= beta_end < 1:
            raise ValueError(f"expected 0 < beta_start <= beta_end < 1, got {beta_start} and {beta_end}")
        self.num_timesteps, self.beta_start, self.beta_end = num_timesteps, beta_start, beta_end
        self.learned_variance = learned_variance

        # The device by name: transformers replaces torch.linspace while it loads some models, and a context such as
        # ``torch.device("meta")`` that is first used then does not see the original afterwards (transformers 5).
        device = torch.get_default_device()
        beta = torch.linspace(beta_start, beta_end, num_timesteps, dtype=torch.float64, device=device)
        alpha_bar = torch.cumprod(1 - beta, dim=0)
        previous = torch.cat([alpha_bar.new_ones(1), alpha_bar[:-1]])
        posterior_variance = beta * (1 - previous) / (1 - alpha_bar)
        # The first step's posterior has no variance; as in DDPM's code, the second's keeps its logarithm finite.
        posterior_variance[0] = posterior_variance[1]
        tables = dict(
            signal=alpha_bar.sqrt(),
            noise=(1 - alpha_bar).sqrt(),
            posterior_start=previous.sqrt() * beta / (1 - alpha_bar),
            posterior_noisy=(1 - beta).sqrt() * (1 - previous) / (1 - alpha_bar),
            log_beta=beta.log(),
            log_posterior_variance=posterior_variance.log(),
        )
        for name, table in tables.items():
            self.register_buffer(name, table.float(), persistent=False)

    def out_dim(self, latent_dim: int) -> int:
        return 2 * latent_dim if self.learned_variance else latent_dim

    def scheduler_config(self, accepted: Collection[str]) -> dict[str, object]:
        required = dict(
            num_train_timesteps=self.num_timesteps,
            beta_schedule="linear",
            beta_start=self.beta_start,
            beta_end=self.beta_end,
            prediction_type=self.prediction_type,
        )
        missing = sorted(required.keys() - set(accepted))
        if missing:
            raise ValueError(
                f"{type(self).__name__} needs a scheduler that knows {', '.join(missing)}, such as "
                "diffusers.DDPMScheduler or diffusers.DPMSolverMultistepScheduler"
            )
        # Latents are no pixels: clipping x_0 at ±1, DDPMScheduler's default, would cut off a third of them.
        where_known = dict(clip_sample=False, trained_betas=None, rescale_betas_zero_snr=False, use_flow_sigmas=False)
        return {**required, **{name: value for name, value in where_known.items() if name in accepted}}

    def terms(self, denoiser: Denoiser, latents: Tensor, condition: Condition) -> dict[str, Tensor]:
        t = integer_rows(self.num_timesteps, latents)
        return self.terms_at(denoiser, latents, condition, t, normal_like(latents))

    def terms_at(
        self, denoiser: Denoiser, latents: Tensor, condition: Condition, t: Tensor, noise: Tensor
    ) -> dict[str, Tensor]:
        """The terms at given (B,) int64 times and (B, K, Z) noise."""
        noisy = self.add_noise(latents, noise, t)
        # The losses are computed in full precision, whatever the network ran in.
        out = denoiser(noisy, t.float(), condition).to(latents.dtype)  # (B, K, Z or 2 Z)
        prediction = out[..., : latents.shape[-1]]
        terms = {"mse": (self.target(latents, noise, t) - prediction).square().flatten(1).mean(1)}
        if self.learned_variance:
            fraction = out[..., latents.shape[-1] :]
            guess = self.to_start(noisy, t, prediction.detach())
            terms["vlb"] = self.variational_term(latents, noisy, guess, fraction, t)
        return terms

    def target(self, latents: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        """What the denoiser shall predict at (B,) int64 times: the noise."""
        return noise

    def add_noise(self, latents: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        """x_t = √ᾱ_t x_0 + √(1 − ᾱ_t) ε (Ho et al., eq. 4)."""
        return self._at("signal", t, latents) * latents + self._at("noise", t, latents) * noise

    def to_start(self, x: Tensor, t: Tensor, prediction: Tensor) -> Tensor:
        """x_0 ≈ (x_t − √(1 − ᾱ_t) ε) / √ᾱ_t (Ho et al., eq. 15)."""
        return (x - self._at("noise", t, x) * prediction) / self._at("signal", t, x)

    def to_prediction(self, x: Tensor, t: Tensor, start: Tensor) -> Tensor:
        return (x - self._at("signal", t, x) * start) / self._at("noise", t, x)

    def posterior_mean(self, start: Tensor, noisy: Tensor, t: Tensor) -> Tensor:
        """μ̃_t(x_t, x_0), the mean of q(x_{t−1} | x_t, x_0) (Ho et al., eq. 7)."""
        return self._at("posterior_start", t, noisy) * start + self._at("posterior_noisy", t, noisy) * noisy

    def log_variance(self, fraction: Tensor, t: Tensor) -> Tensor:
        """log σ² = v log β_t + (1 − v) log β̃_t (Nichol and Dhariwal, eq. 15).

        The network's output is read as 2 v − 1, so that an untrained one is in the middle of the range.
        """
        v = (fraction + 1) / 2
        return v * self._at("log_beta", t, fraction) + (1 - v) * self._at("log_posterior_variance", t, fraction)

    def variational_term(self, start: Tensor, noisy: Tensor, guess: Tensor, fraction: Tensor, t: Tensor) -> Tensor:
        """One term of the variational bound, (B,) in bits a dimension (Ho et al., eq. 5).

        KL(q(x_{t−1} | x_t, x_0) ‖ p(x_{t−1} | x_t)) for t > 0, and −log p(x_0 | x_1) for t = 0.

        Args:
            start: (B, K, Z) latents x_0.
            noisy: (B, K, Z) x_t.
            guess: (B, K, Z) the model's idea of x_0.
            fraction: (B, K, Z) the model's place in the variance's range, as 2 v − 1.
            t: (B,) int64 times.
        """
        model_mean = self.posterior_mean(guess, noisy, t)
        model_log_variance = self.log_variance(fraction, t)
        kl = gaussian_kl(
            self.posterior_mean(start, noisy, t),
            self._at("log_posterior_variance", t, noisy),
            model_mean,
            model_log_variance,
        )
        likelihood = discretized_log_likelihood(start, model_mean, 0.5 * model_log_variance)
        nats = torch.where((t == 0)[:, None, None], -likelihood, kl)  # (B, K, Z)
        return nats.flatten(1).mean(1) / math.log(2)

    def _at(self, table: str, t: Tensor, like: Tensor) -> Tensor:
        """A table's entries at (B,) times, (B, 1, 1) in the precision of ``like``; linear between two of them."""
        values = getattr(self, table)
        low = t.long()
        entries = values[low]
        if t.is_floating_point():
            entries = torch.lerp(
                entries, values[(low + 1).clamp(max=self.num_timesteps - 1)], (t - low).to(values.dtype)
            )
        return entries.to(like.dtype)[:, None, None]


class VelocityDiffusion(GaussianDiffusion):
    """Gaussian diffusion that predicts v, a mix of noise and latents that stays of deviation 1 at all times.

    ``v = √ᾱ_t ε − √(1 − ᾱ_t) x_0`` (Salimans and Ho 2022, "Progressive Distillation for Fast Sampling of Diffusion
    Models", appendix D); ``mse`` is the plain error of v.

    Args:
        num_timesteps: Steps T of the process.
        beta_start: Variance of the first step's noise.
        beta_end: Variance of the last step's noise.
        learned_variance: Whether the denoiser also returns where the reverse step's variance lies in its range.
    """

    prediction_type = "v_prediction"

    def target(self, latents: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        return self._at("signal", t, latents) * noise - self._at("noise", t, latents) * latents

    def to_start(self, x: Tensor, t: Tensor, prediction: Tensor) -> Tensor:
        return self._at("signal", t, x) * x - self._at("noise", t, x) * prediction

    def to_prediction(self, x: Tensor, t: Tensor, start: Tensor) -> Tensor:
        return (self._at("signal", t, x) * x - start) / self._at("noise", t, x)


def gaussian_kl(mean1: Tensor, log_variance1: Tensor, mean2: Tensor, log_variance2: Tensor) -> Tensor:
    """KL(N₁ ‖ N₂) of diagonal Gaussians, elementwise in nats."""
    scaled = (log_variance1 - log_variance2).exp() + (mean1 - mean2).square() * (-log_variance2).exp()
    return 0.5 * (log_variance2 - log_variance1 + scaled - 1)


def discretized_log_likelihood(x: Tensor, mean: Tensor, log_std: Tensor) -> Tensor:
    """Log of a Gaussian's mass in the 1/127.5 wide bin around x, elementwise in nats (Ho et al., eq. 13).

    The outermost bins of [−1, 1] are open. DiT keeps this decoder of 8-bit pixels for latents; it matters at one step
    of T, and there for the variance alone.
    """
    inverse_std = (-log_std).exp()
    upper = torch.special.ndtr((x - mean + 1 / 255) * inverse_std).where(x < 0.999, 1.0)
    lower = torch.special.ndtr((x - mean - 1 / 255) * inverse_std).where(x > -0.999, 0.0)
    return (upper - lower).clamp(min=1e-12).log()

"""From noise to latents, by any scheduler of ``diffusers``.

The configuration names a scheduler and its choices (algorithm, order, …); what the training process dictates (noise
schedule, target) is filled in here, so that no number is written twice and none can disagree.
"""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor, nn

from textok.diffusion.guidance import ConstantGuidance, Guidance
from textok.diffusion.process import Denoiser, DiffusionProcess
from textok.types import Condition

if TYPE_CHECKING:
    from diffusers.schedulers.scheduling_utils import SchedulerMixin

#: What a step needs; a scheduler that asks for more cannot be driven from here.
STEP_ARGUMENTS = {"self", "model_output", "timestep", "sample"}


class Sampler(nn.Module):
    """Walks a diffusion process backwards.

    A sample depends on its own generator alone: its first noise and all that a stochastic scheduler adds are drawn from
    it, whatever the batch.

    Args:
        scheduler: A scheduler of ``diffusers``, such as ``diffusers.DDPMScheduler``, with its choices. What the process
            dictates must not be set to anything else.
        num_steps: Steps of the scheduler; the denoiser runs once a step (twice for some second-order schedulers, and on
            a batch of both branches where guidance is on).
        guidance: The guidance rule.
        timestep_spacing: How the steps are spread over the process's time, in place of the scheduler's own setting.
            None leaves that as it is, except that DDPM gets ``linspace``: only so does it equal DiT's sampler (its own
            default, ``leading``, never visits the noisiest steps). DDIM and PNDM take strides of whole numbers and are
            off by some percent with ``linspace``.
    """

    def __init__(
        self,
        scheduler: SchedulerMixin,
        num_steps: int = 250,
        guidance: Guidance | None = None,
        timestep_spacing: Literal["linspace", "leading", "trailing"] | None = None,
    ) -> None:
        super().__init__()
        if num_steps < 1:
            raise ValueError(f"num_steps must be at least 1, got {num_steps}")
        self.scheduler = scheduler
        self.num_steps = num_steps
        self.guidance = ConstantGuidance(1.0) if guidance is None else guidance
        self.timestep_spacing = timestep_spacing

    def check(self, process: DiffusionProcess) -> None:
        """Refuse a scheduler that does not fit the process, before any work is done.

        Raises:
            ValueError: With the reason.
        """
        self._new_scheduler(process)

    @torch.no_grad()
    def forward(
        self,
        process: DiffusionProcess,
        denoiser: Denoiser,
        shape: tuple[int, int],
        condition: Condition,
        generators: list[torch.Generator],
    ) -> Tensor:
        """Sample one set of latents a generator.

        Args:
            process: The process that the denoiser was trained on.
            denoiser: The network.
            shape: (K, Z) of one sample.
            condition: What is to be generated, B rows; its device is the one to sample on.
            generators: B generators on the CPU.

        Returns:
            (B, K, Z) normalised latents, float32.
        """
        if len(condition) != len(generators):
            raise ValueError(f"{len(condition)} conditions but {len(generators)} generators: give one a sample")
        scheduler = self._new_scheduler(process)
        final_time = scheduler.config.num_train_timesteps
        # Flow-matching schedulers neither scale their input nor start from scaled noise.
        scale_input = getattr(scheduler, "scale_model_input", lambda x, t: x)
        random = {"generator": list(generators)} if "generator" in _parameters(scheduler.step) else {}
        channels = process.out_dim(shape[1]) if _is_ddpm(scheduler) else shape[1]

        noise = torch.stack([torch.randn(shape, generator=generator) for generator in generators])
        x = noise.to(_device(condition)) * getattr(scheduler, "init_noise_sigma", 1.0)  # (B, K, Z)
        self.guidance.begin(process)
        # The scheduler's clock stays on the CPU, where reading it does not wait for the device.
        for time in scheduler.timesteps:
            t = torch.full((len(x),), float(time), device=x.device)
            progress = 1 - float(time) / final_time
            out = self.guidance(denoiser, scale_input(x, time), t, condition, progress).float()
            out = out[..., :channels]  # no other scheduler uses a variance
            # diffusers splits prediction and variance on the second dimension: (B, Z, K).
            step = scheduler.step(out.transpose(1, 2), time, x.transpose(1, 2), **random, return_dict=False)
            x = step[0].transpose(1, 2)
        return x

    def _new_scheduler(self, process: DiffusionProcess) -> SchedulerMixin:
        """A fresh scheduler (multistep ones keep a state) with the process's settings merged in and its clock set."""
        kind = type(self.scheduler)
        chosen = {name: value for name, value in self.scheduler.config.items() if not name.startswith("_")}
        extra = _required(self.scheduler.step) - STEP_ARGUMENTS
        if extra:
            raise ValueError(f"{kind.__name__} does not fit: its step also needs {', '.join(sorted(extra))}")
        try:
            dictated = process.scheduler_config(chosen)
        except ValueError as error:
            raise ValueError(f"{kind.__name__} does not fit: {error}") from error
        is_ddpm = _is_ddpm(self.scheduler)
        spacing = "linspace" if is_ddpm and self.timestep_spacing is None else self.timestep_spacing
        if spacing is not None:
            if "timestep_spacing" not in chosen:
                raise ValueError(f"{kind.__name__} knows no timestep_spacing: drop {spacing!r} from the sampler")
            dictated["timestep_spacing"] = spacing
        if process.out_dim(1) > 1 and is_ddpm:
            dictated["variance_type"] = "learned_range"
        elif str(chosen.get("variance_type")).startswith("learned"):
            raise ValueError(
                f"{kind.__name__} must not have variance_type={chosen['variance_type']!r}: either the process learns "
                "no variance or this scheduler cannot use it"
            )
        self._check_choices(chosen, dictated)

        # A scheduler computes its tables on the CPU, also where the model around it is built on the meta device.
        with torch.device("cpu"):
            scheduler = kind(**{**chosen, **dictated})
            scheduler.set_timesteps(self.num_steps)
        first, last = float(scheduler.timesteps[0]), scheduler.config.num_train_timesteps
        if first < last / 2:
            raise ValueError(
                f"{kind.__name__} does not fit: its first of {self.num_steps} steps is at time {first:g} of {last}, "
                "but sampling starts at pure noise: take more steps or another scheduler"
            )
        return scheduler

    def _check_choices(self, chosen: dict[str, object], dictated: dict[str, object]) -> None:
        """Refuse a choice that would silently be overruled; a class's default is no choice."""
        kind = type(self.scheduler)
        defaults = _parameters(kind.__init__)
        for name, value in dictated.items():
            if chosen[name] not in (defaults[name].default, value):
                owner = "the sampler's timestep_spacing" if name == "timestep_spacing" else "the diffusion process"
                raise ValueError(f"{kind.__name__} has {name}={chosen[name]!r}, but {owner} says {value!r}: drop it")


def _parameters(function: object) -> dict[str, inspect.Parameter]:
    return dict(inspect.signature(function).parameters)


def _required(function: object) -> set[str]:
    """Names of the parameters without a default."""
    named = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return {n for n, p in _parameters(function).items() if p.default is p.empty and p.kind in named}


def _is_ddpm(scheduler: SchedulerMixin) -> bool:
    """Whether a scheduler is ancestral sampling, the only kind that uses a learned variance.

    Others know the word ``variance_type`` too, but with it keep the first three channels only.
    """
    from diffusers import DDPMParallelScheduler, DDPMScheduler

    return isinstance(scheduler, (DDPMScheduler, DDPMParallelScheduler))


def _device(condition: Condition) -> torch.device:
    if condition.label is not None:
        return condition.label.device
    return condition.drop.device if condition.text is None else condition.text.tokens.device

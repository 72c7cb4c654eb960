"""Rectified flow against the closed form of a Gaussian, its clock, and the schedulers that fit it."""

import pytest
import torch
from diffusers import (
    DDPMScheduler,
    DPMSolverMultistepScheduler,
    EulerDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
    FlowMatchHeunDiscreteScheduler,
    UniPCMultistepScheduler,
)

from textok.diffusion import LogitNormalTime, RectifiedFlow, Sampler, UniformTime
from textok.types import Condition

MEAN, STD = torch.tensor([0.7, -1.5, 0.0, 2.0]), torch.tensor([0.8, 0.5, 1.0, 1.5])


def condition(count):
    return Condition(label=torch.zeros(count, dtype=torch.long))


def velocity(x, t, condition):
    """E[ε − x_0 | x_t] for data N(MEAN, STD²): the linear regression of two jointly normal variables."""
    t = (t / 1000)[:, None, None]
    variance = ((1 - t) * STD) ** 2 + t**2
    return -MEAN + (t - (1 - t) * STD**2) / variance * (x - (1 - t) * MEAN)


@pytest.mark.parametrize(
    "scheduler, steps, tolerance",
    [
        (FlowMatchEulerDiscreteScheduler(), 400, 0.01),
        (FlowMatchHeunDiscreteScheduler(), 30, 0.01),
        (DPMSolverMultistepScheduler(algorithm_type="dpmsolver++"), 30, 0.01),
        (UniPCMultistepScheduler(), 30, 0.01),
    ],
    ids=lambda value: type(value).__name__ if hasattr(value, "config") else "",
)
def test_a_gaussian_integrates_to_its_closed_form(scheduler, steps, tolerance):
    """The flow of a Gaussian takes each noise z to mean + std · z."""
    generators = [torch.Generator().manual_seed(seed) for seed in range(4)]
    found = Sampler(scheduler, steps)(RectifiedFlow(), velocity, (32, 4), condition(4), generators)
    noise = torch.stack([torch.randn(32, 4, generator=torch.Generator().manual_seed(seed)) for seed in range(4)])
    assert ((found - MEAN - STD * noise) / STD).abs().max() < tolerance * (1 + noise.abs().max())


def test_the_loss_of_the_best_velocity_is_the_conditional_variance():
    """Var(ε − x_0 | x_t) = 1 + s² − (t − (1 − t) s²)² / ((1 − t)² s² + t²); a worse velocity costs more."""
    torch.manual_seed(0)
    latents, noise = MEAN + STD * torch.randn(64, 500, 4), torch.randn(64, 500, 4)
    for t in (0.1, 0.5, 0.9):
        time = torch.full((64,), t)
        found = RectifiedFlow().terms_at(velocity, latents, condition(64), time, noise)["mse"].mean()
        variance = 1 + STD**2 - (t - (1 - t) * STD**2) ** 2 / (((1 - t) * STD) ** 2 + t**2)
        torch.testing.assert_close(found, variance.mean(), rtol=0.03, atol=0)
        worse = RectifiedFlow().terms_at(lambda *a: 1.2 * velocity(*a), latents, condition(64), time, noise)["mse"]
        assert worse.mean() > found


def test_the_path_is_straight_and_told_in_the_schedulers_clock():
    seen = []

    def denoiser(x, t, condition):
        seen.append((x, t))
        return torch.zeros_like(x)

    latents, noise, time = torch.randn(3, 5, 4), torch.randn(3, 5, 4), torch.tensor([0.0, 0.25, 1.0])
    terms = RectifiedFlow().terms_at(denoiser, latents, condition(3), time, noise)
    (x, t), share = seen[0], time[:, None, None]
    assert t.tolist() == [0.0, 250.0, 1000.0]
    torch.testing.assert_close(x, (1 - share) * latents + share * noise)
    torch.testing.assert_close(terms["mse"], (noise - latents).square().mean((1, 2)))


def test_times_lie_in_the_unit_interval_and_follow_their_law():
    torch.manual_seed(0)
    like = torch.zeros(20000, 1)
    uniform, middle, late = UniformTime()(like), LogitNormalTime()(like), LogitNormalTime(1.0, 0.5)(like)
    for time in (uniform, middle, late):
        assert time.shape == (20000,) and time.min() >= 0 and time.max() <= 1
    torch.testing.assert_close(uniform.std(), torch.tensor(12**-0.5), rtol=0.02, atol=0)
    torch.testing.assert_close(torch.logit(late).mean(), torch.tensor(1.0), rtol=0.02, atol=0)
    torch.testing.assert_close(torch.logit(middle).std(), torch.tensor(1.0), rtol=0.02, atol=0)


@pytest.mark.parametrize(
    "scheduler, message",
    [
        (DDPMScheduler(), "DDPMScheduler does not fit: RectifiedFlow needs a scheduler of straight paths"),
        (EulerDiscreteScheduler(), "EulerDiscreteScheduler does not fit.*FlowMatchEuler"),
        (UniPCMultistepScheduler(prediction_type="v_prediction"), "v_prediction.*flow_prediction"),
        (FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True), "use_dynamic_shifting=True"),
    ],
    ids=lambda value: type(value).__name__ if hasattr(value, "config") else "",
)
def test_a_scheduler_of_another_process_is_refused(scheduler, message):
    with pytest.raises(ValueError, match=message):
        Sampler(scheduler, 10).check(RectifiedFlow())


def test_bad_values_are_refused():
    with pytest.raises(ValueError, match="std of LogitNormalTime must be positive, got 0"):
        LogitNormalTime(std=0)
    with pytest.raises(ValueError, match="num_timesteps must be positive, got 0"):
        RectifiedFlow(num_timesteps=0)

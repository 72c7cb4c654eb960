"""Sampling: parity with DiT's published sampler, independence of batches, and which schedulers fit."""

import subprocess
import sys

import pytest
import torch
from diffusers import (
    DDIMScheduler,
    DDPMScheduler,
    DPMSolverMultistepScheduler,
    EulerDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
    HeunDiscreteScheduler,
    UniPCMultistepScheduler,
)
from jsonargparse import ArgumentParser

from textok.diffusion import (
    ConstantGuidance,
    DiffusionProcess,
    GaussianDiffusion,
    IntervalGuidance,
    Sampler,
    VelocityDiffusion,
)
from textok.models.dit import DiT
from textok.types import Condition, Sizes

BETA = torch.linspace(1e-4, 2e-2, 1000, dtype=torch.float64)
ALPHA_BAR = torch.cumprod(1 - BETA, 0)
SHAPE = (5, 4)


def generators(*seeds):
    return [torch.Generator().manual_seed(seed) for seed in seeds]


def labels(count):
    return Condition(label=torch.arange(count) % 3)


def toy(x, t, condition):
    """A smooth denoiser of 2 Z channels that depends on place, time and label; exact in float64 where x is."""
    t = t.to(x.dtype)[:, None, None] / 1000
    label = condition.label.to(x.dtype)[:, None, None]
    return torch.cat([0.9 * x - 0.2 * torch.sin(2 * x + label + t), torch.tanh(x + t - label)], dim=-1)


def reference_ddpm(condition, seeds, steps):
    """DiT's sampler from its formulae, in float64.

    The process is respaced to the kept times (Nichol and Dhariwal 2021, section 4: β'_i = 1 − ᾱ_{S_i} / ᾱ_{S_{i−1}}),
    the mean is that of Ho et al. 2020, eq. 7 at x_0 of eq. 15, the variance that of Nichol and Dhariwal, eq. 15.
    """
    random = generators(*seeds)
    times = [round(i * 999 / (steps - 1)) for i in range(steps)]
    bars = ALPHA_BAR[times]
    before = torch.cat([torch.ones(1, dtype=torch.float64), bars[:-1]])
    betas = 1 - bars / before
    tilde = betas * (1 - before) / (1 - bars)
    x = torch.stack([torch.randn(SHAPE, generator=g) for g in random]).double()
    for i in reversed(range(steps)):
        epsilon, v = toy(x, torch.full((len(x),), float(times[i])), condition).chunk(2, dim=-1)
        start = (x - (1 - bars[i]).sqrt() * epsilon) / bars[i].sqrt()
        mean = (before[i].sqrt() * betas[i] * start + (1 - betas[i]).sqrt() * (1 - before[i]) * x) / (1 - bars[i])
        if i == 0:
            return mean
        share = (v + 1) / 2
        log_variance = share * betas[i].log() + (1 - share) * tilde[i].log()
        # diffusers draws its noise channels first
        noise = torch.cat([torch.randn(1, *SHAPE[::-1], generator=g) for g in random]).transpose(1, 2)
        x = mean + torch.exp(0.5 * log_variance) * noise.double()


def test_250_ddpm_steps_are_dits():
    expected = reference_ddpm(labels(3), (1, 2, 3), 250)
    sampler = Sampler(DDPMScheduler(), num_steps=250)
    found = sampler(GaussianDiffusion(), toy, SHAPE, labels(3), generators(1, 2, 3))
    assert expected.std() > 0.2
    torch.testing.assert_close(found.double(), expected, atol=1e-5, rtol=0)


def test_250_ddpm_steps_of_v_prediction_take_the_same_walk():
    """The same network asked for v instead of ε, with the same learned variance, ends at the same latents."""

    def as_velocity(x, t, condition):
        epsilon, fraction = toy(x, t, condition).chunk(2, dim=-1)
        bar = ALPHA_BAR[t.long()][:, None, None].to(x.dtype)
        start = (x - (1 - bar).sqrt() * epsilon) / bar.sqrt()
        return torch.cat([bar.sqrt() * epsilon - (1 - bar).sqrt() * start, fraction], dim=-1)

    found = Sampler(DDPMScheduler(), 250)(VelocityDiffusion(), as_velocity, SHAPE, labels(2), generators(1, 2))
    torch.testing.assert_close(found.double(), reference_ddpm(labels(2), (1, 2), 250), atol=1e-4, rtol=1e-4)


def gaussian_denoiser(mean, std):
    """The best ε-prediction for data N(mean, std²), between the times by interpolation."""

    def denoise(x, t, condition):
        low = t.floor().long().clamp(max=998)
        share = t.double() - low
        bar = ((1 - share) * ALPHA_BAR[low] + share * ALPHA_BAR[low + 1])[:, None, None]
        return ((1 - bar).sqrt() * (x - bar.sqrt() * mean) / (bar * std**2 + 1 - bar)).float()

    return denoise


@pytest.mark.parametrize(
    "scheduler, tolerance",
    [
        (DPMSolverMultistepScheduler(algorithm_type="dpmsolver++"), 0.05),
        (UniPCMultistepScheduler(), 0.05),
        (HeunDiscreteScheduler(), 0.05),
        (EulerDiscreteScheduler(), 0.15),
        (DDIMScheduler(), 0.15),
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, float) else "",
)
def test_20_steps_recover_a_gaussian(scheduler, tolerance):
    """Of a Gaussian, each noise z has one fate, mean + std · z (the closed form of the probability-flow ODE)."""
    mean, std = torch.tensor([0.7, -1.5, 0.0, 2.0]), torch.tensor([0.8, 0.5, 1.0, 1.5])
    process, random = GaussianDiffusion(learned_variance=False), generators(*range(16))
    found = Sampler(scheduler, 20)(process, gaussian_denoiser(mean, std), (64, 4), labels(16), random)
    noise = torch.stack([torch.randn(64, 4, generator=g) for g in generators(*range(16))])
    expected = (mean + std * noise).flatten(0, 1)
    found = found.flatten(0, 1)
    torch.testing.assert_close(found.mean(0), expected.mean(0), atol=0.03, rtol=0)
    torch.testing.assert_close(found.std(0) / expected.std(0), torch.ones(4), atol=tolerance, rtol=0)
    assert ((found - expected) / std).square().mean().sqrt() < tolerance


def random_dit():
    torch.manual_seed(0)
    dit = DiT(*SHAPE, 2 * SHAPE[1], Sizes(32, num_classes=3), width=32, depth=2, num_heads=2)
    with torch.no_grad():
        for parameter in dit.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return dit


@pytest.mark.parametrize(
    "scheduler",
    [
        DDPMScheduler(),
        DPMSolverMultistepScheduler(algorithm_type="dpmsolver++"),
        DPMSolverMultistepScheduler(algorithm_type="sde-dpmsolver++"),
    ],
    ids=["ddpm", "dpmsolver++", "sde-dpmsolver++"],
)
def test_a_sample_depends_on_its_own_generator_alone(scheduler):
    """Up to the order in which a matrix product adds: kernels differ between batch sizes."""
    sampler, process, dit = Sampler(scheduler, 12, ConstantGuidance(2.0)), GaussianDiffusion(), random_dit()
    together = sampler(process, dit, SHAPE, labels(3), generators(1, 2, 3))
    alone = [
        sampler(process, dit, SHAPE, Condition(label=labels(3).label[i : i + 1]), generators(i + 1)) for i in range(3)
    ]
    torch.testing.assert_close(together, torch.cat(alone), atol=1e-5, rtol=1e-5)
    assert not torch.allclose(together[0], together[1], atol=0.1)


def test_calls_leave_no_state_behind():
    sampler, process = Sampler(DPMSolverMultistepScheduler(), 5), GaussianDiffusion()
    first = sampler(process, toy, SHAPE, labels(2), generators(1, 2))
    assert torch.equal(first, sampler(process, toy, SHAPE, labels(2), generators(1, 2)))


def test_the_global_random_state_is_not_touched():
    state = torch.get_rng_state()
    Sampler(DDPMScheduler(), 5)(GaussianDiffusion(), toy, SHAPE, labels(2), generators(1, 2))
    assert torch.equal(torch.get_rng_state(), state)


def test_denoiser_and_guidance_see_the_clock():
    times, progress = [], []

    class Spy(IntervalGuidance):
        def scale_at(self, value):
            progress.append(value)
            return super().scale_at(value)

    def denoiser(x, t, condition):
        times.append(t.tolist())
        return toy(x, t, condition)

    Sampler(DDPMScheduler(), 4, Spy(1.0))(GaussianDiffusion(), denoiser, SHAPE, labels(2), generators(1, 2))
    assert times == [[999.0] * 2, [666.0] * 2, [333.0] * 2, [0.0] * 2]
    assert progress == pytest.approx([0.001, 0.334, 0.667, 1.0])


def test_the_process_dictates_the_noise_schedule():
    """Another schedule of training reaches the scheduler, whose own numbers are only its class's defaults."""
    process = GaussianDiffusion(num_timesteps=200, beta_start=1e-3, beta_end=5e-2, learned_variance=False)
    times = []

    def denoiser(x, t, condition):
        times.append(t[0].item())
        return torch.zeros_like(x)

    found = Sampler(DDIMScheduler(), 10)(process, denoiser, SHAPE, labels(1), generators(1))
    bars = torch.cumprod(1 - torch.linspace(1e-3, 5e-2, 200, dtype=torch.float64), 0)
    assert times == [float(t) for t in range(180, -1, -20)]
    # With ε = 0, DDIM only rescales; its last ᾱ is taken as 1.
    noise = torch.randn(1, *SHAPE, generator=generators(1)[0])
    torch.testing.assert_close(found, (noise.double() / bars[180].sqrt()).float(), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    "scheduler, message",
    [
        (FlowMatchEulerDiscreteScheduler(), "FlowMatchEulerDiscreteScheduler does not fit.*prediction_type"),
        (DDPMScheduler(prediction_type="v_prediction"), "prediction_type='v_prediction'.*'epsilon'"),
        (DDPMScheduler(timestep_spacing="trailing"), "timestep_spacing='trailing'.*linspace"),
        (DDPMScheduler(beta_schedule="squaredcos_cap_v2"), "squaredcos_cap_v2"),
        (DPMSolverMultistepScheduler(variance_type="learned_range"), "learned_range"),
        (DDPMScheduler(variance_type="fixed_large"), "variance_type='fixed_large'.*'learned_range'"),
    ],
)
def test_a_scheduler_that_does_not_fit_is_refused_at_start(scheduler, message):
    with pytest.raises(ValueError, match=message):
        Sampler(scheduler, 10).check(GaussianDiffusion())


def test_a_walk_that_does_not_start_in_the_noise_is_refused():
    """DDPM with one step would stand at time 0 and return its noise."""
    with pytest.raises(ValueError, match="time 0 of 1000"):
        Sampler(DDPMScheduler(), 1).check(GaussianDiffusion())


def test_bad_calls_are_refused():
    with pytest.raises(ValueError, match="num_steps must be at least 1, got 0"):
        Sampler(DDPMScheduler(), 0)
    with pytest.raises(ValueError, match="2 conditions but 1 generators"):
        Sampler(DDPMScheduler(), 2)(GaussianDiffusion(), toy, SHAPE, labels(2), generators(1))


def parse(scheduler, **settings):
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--sampler", type=Sampler)
    parser.add_argument("--process", type=DiffusionProcess)
    return parser, parser.parse_object(
        {"sampler": {"scheduler": scheduler, **settings}, "process": "GaussianDiffusion"}
    )


def test_yaml_chooses_scheduler_and_guidance():
    parser, config = parse(
        {"class_path": "diffusers.DPMSolverMultistepScheduler", "init_args": {"algorithm_type": "dpmsolver++"}},
        num_steps=20,
        guidance={"class_path": "ConstantGuidance", "init_args": {"scale": 1.5}},
    )
    built = parser.instantiate(config)
    built.sampler.check(built.process)
    assert type(built.sampler.scheduler) is DPMSolverMultistepScheduler
    assert built.sampler.num_steps == 20 and built.sampler.guidance.scale == 1.5
    again = parser.instantiate(parser.parse_string(parser.dump(config)))
    assert again.sampler.scheduler.config == built.sampler.scheduler.config


def test_yaml_defaults_of_ddpm_are_dits():
    """A parsed configuration spells out every default of diffusers; two of them would spoil the samples."""
    parser, config = parse("diffusers.DDPMScheduler")
    sampler = parser.instantiate(config).sampler
    found = sampler(GaussianDiffusion(), toy, SHAPE, labels(2), generators(1, 2))
    torch.testing.assert_close(found.double(), reference_ddpm(labels(2), (1, 2), 250), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    "scheduler",
    [
        {"class_path": "diffusers.DDPMScheduler", "init_args": {"nonsense": 1}},
        "diffusers.NoScheduler",
        "torch.nn.Linear",
    ],
)
def test_yaml_mistakes_are_refused(scheduler):
    with pytest.raises(Exception, match=r"nonsense|NoScheduler|Linear"):
        parse(scheduler)


@pytest.mark.slow
def test_importing_the_package_leaves_diffusers_alone():
    """It costs seconds, which only a generator should pay."""
    code = "import sys, textok.diffusion; sys.exit('diffusers' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=120).returncode == 0

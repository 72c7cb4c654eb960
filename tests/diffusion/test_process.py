"""The training terms against the published formulae, written here a second time in float64 with torch.distributions."""

import math

import pytest
import torch
from torch.distributions import Normal, kl_divergence

from textok.diffusion import GaussianDiffusion, RectifiedFlow, VelocityDiffusion
from textok.types import Condition

BETA = torch.linspace(1e-4, 2e-2, 1000, dtype=torch.float64)
ALPHA_BAR = torch.cumprod(1 - BETA, 0)
CONDITION = Condition(label=torch.zeros(6, dtype=torch.long))


def denoiser(x, t, condition):
    """A fixed network with 2 Z outputs; the second half stays within the variance's range."""
    t = t.to(x.dtype)[:, None, None] / 1000
    return torch.cat([0.8 * x + 0.3 * torch.sin(3 * x + t), torch.tanh(x - t)], dim=-1)


def samples(dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    latents, noise = torch.randn(2, 6, 5, 3, generator=generator, dtype=torch.float64).to(dtype)
    return latents, noise, torch.tensor([0, 1, 2, 250, 700, 999])


def published_terms(latents, noise, t):
    """DiT's loss a sample: Ho et al. eq. 4, 7, 13, 14; Nichol and Dhariwal eq. 15, 16."""
    mse, vlb = [], []
    for x0, eps, time in zip(latents, noise, t.tolist()):
        bar, beta = ALPHA_BAR[time], BETA[time]
        before = ALPHA_BAR[time - 1] if time else torch.tensor(1.0, dtype=torch.float64)
        xt = bar.sqrt() * x0 + (1 - bar).sqrt() * eps
        guess, v = denoiser(xt[None], torch.tensor([float(time)]), None)[0].chunk(2, dim=-1)
        mse.append(((eps - guess) ** 2).mean())

        def posterior(start, xt=xt, bar=bar, beta=beta, before=before):
            return (before.sqrt() * beta * start + (1 - beta).sqrt() * (1 - before) * xt) / (1 - bar)

        second = BETA[1] * (1 - ALPHA_BAR[0]) / (1 - ALPHA_BAR[1])
        beta_tilde = beta * (1 - before) / (1 - bar) if time else second
        share = (v + 1) / 2
        variance = torch.exp(share * beta.log() + (1 - share) * beta_tilde.log())
        model = Normal(posterior((xt - (1 - bar).sqrt() * guess) / bar.sqrt()), variance.sqrt())
        if time:
            nats = kl_divergence(Normal(posterior(x0), beta_tilde.sqrt()), model)
        else:
            upper = torch.where(x0 < 0.999, model.cdf(x0 + 1 / 255), 1.0)
            lower = torch.where(x0 > -0.999, model.cdf(x0 - 1 / 255), 0.0)
            nats = -(upper - lower).clamp(min=1e-12).log()
        vlb.append(nats.mean() / math.log(2))
    return torch.stack(mse), torch.stack(vlb)


@pytest.mark.parametrize("dtype, tolerance", [(torch.float64, 1e-5), (torch.float32, 1e-4)])
def test_terms_are_the_published_ones(dtype, tolerance):
    latents, noise, t = samples(dtype)
    terms = GaussianDiffusion().terms_at(denoiser, latents, CONDITION, t, noise)
    mse, vlb = published_terms(latents.double(), noise.double(), t)
    torch.testing.assert_close(terms["mse"].double(), mse, atol=tolerance, rtol=tolerance)
    torch.testing.assert_close(terms["vlb"].double(), vlb, atol=tolerance, rtol=tolerance)


def test_a_perfect_denoiser_costs_only_the_variance():
    """With the true noise and v = 0 (the posterior's own variance) both terms vanish for t > 0."""
    latents, noise, t = samples()

    def perfect(x, time, condition):
        return torch.cat([noise, -torch.ones_like(noise)], dim=-1)

    terms = GaussianDiffusion().terms_at(perfect, latents, CONDITION, t, noise)
    assert torch.equal(terms["mse"], torch.zeros(6, dtype=torch.float64))
    torch.testing.assert_close(terms["vlb"][1:], torch.zeros(5, dtype=torch.float64), atol=1e-9, rtol=0)


def test_the_variational_term_moves_the_variance_alone():
    latents, noise, t = samples()
    out = denoiser(latents, t, None).requires_grad_()
    terms = GaussianDiffusion().terms_at(lambda *_: out, latents, CONDITION, t, noise)
    (gradient,) = torch.autograd.grad(terms["vlb"].sum(), out)
    assert not gradient[..., :3].any() and gradient[..., 3:].any()


def test_without_learned_variance_there_is_one_term():
    latents, noise, t = samples()
    process = GaussianDiffusion(learned_variance=False)
    terms = process.terms_at(lambda x, *_: 0 * x, latents, CONDITION, t, noise)
    assert process.out_dim(8) == 8 and GaussianDiffusion().out_dim(8) == 16
    assert list(terms) == ["mse"]
    torch.testing.assert_close(terms["mse"], noise.square().mean((1, 2)))


def test_loss_is_the_mean_over_valid_samples_and_a_function_of_the_seed():
    latents, _, _ = samples(torch.float32)
    process = GaussianDiffusion()

    def draw(function, **arguments):
        torch.manual_seed(3)
        return function(denoiser, latents, CONDITION, **arguments)

    terms, valid = draw(process.terms), torch.tensor([True, False, True, True, False, True])
    for name, value in draw(process.loss).items():
        torch.testing.assert_close(value, terms[name].mean())
    for name, value in draw(process.loss, valid=valid).items():
        torch.testing.assert_close(value, terms[name][valid].mean())
    assert all(value == 0 for value in draw(process.loss, valid=torch.zeros(6, dtype=torch.bool)).values())


def test_padding_that_is_not_finite_does_not_spoil_the_mean():
    latents, _, _ = samples(torch.float32)
    latents[0] = float("nan")
    valid = torch.arange(6) > 0
    assert all(v.isfinite() for v in GaussianDiffusion().loss(denoiser, latents, CONDITION, valid).values())


def test_the_process_ends_in_noise_and_starts_at_the_latents():
    latents, noise, _ = samples()
    process = GaussianDiffusion()
    last, first = torch.full((6,), 999), torch.zeros(6, dtype=torch.long)
    torch.testing.assert_close(process.add_noise(latents, noise, last), noise, atol=0.03, rtol=0)
    torch.testing.assert_close(process.add_noise(latents, noise, first), latents, atol=0.05, rtol=0)
    noisy = process.add_noise(latents, noise, last)
    torch.testing.assert_close(process.to_start(noisy, last, noise), latents, atol=1e-6, rtol=1e-6)


def test_v_prediction_is_the_same_process_in_other_words():
    """A network that knows ε, asked for v = √ᾱ ε − √(1 − ᾱ) x_0, gives the same guess of x_0, hence the same bound."""
    latents, noise, t = samples()
    bar = ALPHA_BAR[t][:, None, None]

    def as_velocity(x, time, condition):
        guess, fraction = denoiser(x, time, condition).chunk(2, dim=-1)
        start = (x - (1 - bar).sqrt() * guess) / bar.sqrt()
        return torch.cat([bar.sqrt() * guess - (1 - bar).sqrt() * start, fraction], dim=-1)

    found = VelocityDiffusion().terms_at(as_velocity, latents, CONDITION, t, noise)
    mse, vlb = published_terms(latents, noise, t)
    torch.testing.assert_close(found["vlb"], vlb, atol=1e-5, rtol=1e-5)
    # An error of ε is one of v, magnified by 1 / √ᾱ.
    torch.testing.assert_close(found["mse"], mse / bar.flatten(), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("process", [GaussianDiffusion(), VelocityDiffusion(), RectifiedFlow()])
def test_a_prediction_and_the_clean_latents_tell_the_same(process):
    latents, noise, _ = samples()
    t = torch.tensor([1.0, 17.5, 250.0, 499.25, 700.0, 999.0])
    x = 0.5 * latents + noise
    start = process.to_start(x, t, noise)
    torch.testing.assert_close(process.to_prediction(x, t, start), noise)


@pytest.mark.parametrize("process", [GaussianDiffusion(), VelocityDiffusion()])
def test_the_target_leads_back_to_the_latents(process):
    latents, noise, t = samples()
    noisy = process.add_noise(latents, noise, t)
    torch.testing.assert_close(process.to_start(noisy, t, process.target(latents, noise, t)), latents)


def test_nothing_of_the_process_is_stored():
    assert not GaussianDiffusion().state_dict()


@pytest.mark.parametrize(
    "arguments", [{"num_timesteps": 1}, {"beta_start": 0.0}, {"beta_end": 1.5}, {"beta_start": 0.1}]
)
def test_bad_schedules_are_refused(arguments):
    with pytest.raises(ValueError, match=str(next(iter(arguments.values())))):
        GaussianDiffusion(**arguments)

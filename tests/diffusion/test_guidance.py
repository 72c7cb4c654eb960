"""Guidance: what it computes, when, and on which channels."""

import pytest
import torch

from textok.diffusion import (
    AdaptiveProjectedGuidance,
    AutoGuidance,
    ConstantGuidance,
    GaussianDiffusion,
    IntervalGuidance,
    LinearGuidance,
    PowerCosineGuidance,
    RectifiedFlow,
)
from textok.types import Condition, TextTokens

X = torch.randn(3, 4, 2, generator=torch.Generator().manual_seed(0))
T = torch.tensor([5.0, 6.0, 7.0])


class Denoiser:
    """2 Z outputs that tell apart conditional and dropped rows, and a count of the rows it was asked for."""

    def __init__(self):
        self.rows = []

    def __call__(self, x, t, condition):
        self.rows.append(len(x))
        level = condition.label.float() + 1
        if condition.drop is not None:
            level = level.masked_fill(condition.drop, 0.0)
        return torch.cat([x, 2 * x], dim=-1) + level[:, None, None] + t[:, None, None]


def guide(guidance, progress=0.5, condition=None):
    denoiser = Denoiser()
    return guidance(denoiser, X, T, condition or Condition(label=torch.arange(3)), progress), denoiser.rows


def test_scale_one_is_the_conditional_model_in_one_forward():
    out, rows = guide(ConstantGuidance(1.0))
    assert rows == [3]
    assert torch.equal(out, Denoiser()(X, T, Condition(label=torch.arange(3))))


def test_every_channel_is_guided_and_the_variance_is_conditional():
    out, rows = guide(ConstantGuidance(3.0))
    label = torch.arange(3.0)[:, None, None]
    assert rows == [6]
    # unconditional level 0, conditional label + 1: guided 3 (label + 1)
    torch.testing.assert_close(out[..., :2], X + T[:, None, None] + 3 * (label + 1))
    torch.testing.assert_close(out[..., 2:], 2 * X + T[:, None, None] + label + 1)


def test_scale_zero_is_the_unconditional_model():
    out, _ = guide(ConstantGuidance(0.0))
    torch.testing.assert_close(out[..., :2], X + T[:, None, None])


def test_text_goes_to_both_branches():
    text = TextTokens(torch.randn(3, 5, 2), torch.ones(3, 5, dtype=torch.bool))

    def denoiser(x, t, condition):
        return x + condition.text.tokens.mean((1, 2))[:, None, None] * (~condition.drop)[:, None, None]

    out = ConstantGuidance(2.0)(denoiser, X, T, Condition(text=text), 0.0)
    torch.testing.assert_close(out, X + 2 * text.tokens.mean((1, 2))[:, None, None])


def test_interval_guides_inside_only():
    guidance = IntervalGuidance(4.0, start=0.2, end=0.6)
    assert [guidance.scale_at(p) for p in (0.0, 0.19, 0.2, 0.6, 0.61, 1.0)] == [1, 1, 4, 4, 1, 1]
    assert guide(guidance, progress=0.9)[1] == [3] and guide(guidance, progress=0.3)[1] == [6]


def test_power_cosine_rises_from_one_to_the_scale():
    guidance = PowerCosineGuidance(5.0, power=2.0)
    assert guidance.scale_at(0.0) == 1 and guidance.scale_at(1.0) == pytest.approx(5)
    assert guidance.scale_at(0.5**0.5) == pytest.approx(3)  # half way at p² = ½
    scales = [guidance.scale_at(i / 10) for i in range(11)]
    assert scales == sorted(scales)


def test_linear_goes_evenly_from_start_to_scale():
    assert [LinearGuidance(5.0).scale_at(p) for p in (0.0, 0.25, 1.0)] == [1, 2, 5]
    assert [LinearGuidance(1.0, start=3.0).scale_at(p) for p in (0.0, 0.5, 1.0)] == [3, 2, 1]


def bad_denoiser(x, t, condition):
    return torch.cat([0.5 * x, 9 * x], dim=-1)


def test_autoguidance_leads_away_from_the_bad_network():
    guidance, read = AutoGuidance(3.0, "bad.ckpt"), []
    with pytest.raises(RuntimeError, match="no second network"):
        guide(guidance)
    for _ in range(2):
        guidance.load(lambda *asked: read.append(asked) or bad_denoiser)
    assert read == [("bad.ckpt", None)]
    out, rows = guide(guidance)
    good = Denoiser()(X, T, Condition(label=torch.arange(3)))
    assert rows == [3]
    torch.testing.assert_close(out[..., :2], 0.5 * X + 3 * (good[..., :2] - 0.5 * X))
    assert torch.equal(out[..., 2:], good[..., 2:])
    assert torch.equal(guide(AutoGuidance(1.0, "bad.ckpt"))[0], good)


def projected(process=None, **choices):
    guidance = AdaptiveProjectedGuidance(**choices)
    guidance.begin(process or RectifiedFlow())
    return guidance


@pytest.mark.parametrize("process", [GaussianDiffusion(), RectifiedFlow()])
def test_apg_that_keeps_everything_is_classifier_free_guidance(process):
    found, rows = guide(projected(process, scale=3.0, parallel=1.0, momentum=0.0))
    assert rows == [6]
    torch.testing.assert_close(found, guide(ConstantGuidance(3.0))[0], rtol=1e-4, atol=1e-4)


def test_apg_moves_across_the_conditional_prediction_only():
    process, denoiser, condition = RectifiedFlow(), Denoiser(), Condition(label=torch.arange(3))
    start = process.to_start(X, T, denoiser(X, T, condition)[..., :2]).flatten(1)
    dropped = Condition(label=condition.label, drop=torch.ones(3, dtype=torch.bool))
    other = process.to_start(X, T, denoiser(X, T, dropped)[..., :2]).flatten(1)
    found = guide(projected(process, scale=3.0, momentum=0.0), condition=condition)[0][..., :2]
    move = process.to_start(X, T, found).flatten(1) - start
    torch.testing.assert_close((move * start).sum(1), torch.zeros(3), rtol=0, atol=1e-3)
    # Pythagoras: what is left of twice the difference is its part across the prediction.
    difference = 2 * (start - other)
    along = (difference * start).sum(1) / start.norm(dim=1)
    torch.testing.assert_close(move.square().sum(1), difference.square().sum(1) - along**2, rtol=1e-2, atol=1e-4)
    shorter = guide(projected(process, scale=3.0, parallel=1.0, momentum=0.0, norm=1e-3), condition=condition)[0]
    length = (process.to_start(X, T, shorter[..., :2]).flatten(1) - start).norm(dim=1)
    torch.testing.assert_close(length, torch.full((3,), 2e-3), rtol=1e-2, atol=0)


def test_apg_remembers_within_a_walk_and_forgets_between_two():
    guidance, process = projected(scale=3.0, momentum=-0.5), RectifiedFlow()
    first, second = guide(guidance)[0], guide(guidance)[0]
    assert not torch.allclose(first, second)
    guidance.begin(process)
    assert torch.equal(guide(guidance)[0], first)
    assert not guidance.state_dict() and not list(guidance.children())


def test_apg_of_scale_one_is_the_conditional_model():
    out, rows = guide(projected(scale=1.0))
    assert rows == [3] and torch.equal(out, Denoiser()(X, T, Condition(label=torch.arange(3))))


@pytest.mark.parametrize(
    "make",
    [
        lambda: LinearGuidance(-1.0),
        lambda: LinearGuidance(1.0, start=-0.5),
        lambda: AutoGuidance(-1.0, "bad.ckpt"),
        lambda: AdaptiveProjectedGuidance(-1.0),
        lambda: AdaptiveProjectedGuidance(2.0, momentum=1.0),
        lambda: AdaptiveProjectedGuidance(2.0, norm=0.0),
        lambda: ConstantGuidance(-1.0),
        lambda: ConstantGuidance(float("nan")),
        lambda: IntervalGuidance(-0.1),
        lambda: IntervalGuidance(2.0, start=0.5, end=0.5),
        lambda: IntervalGuidance(2.0, end=1.1),
        lambda: PowerCosineGuidance(2.0, power=0.0),
    ],
)
def test_bad_values_are_refused(make):
    with pytest.raises(ValueError, match="got"):
        make()

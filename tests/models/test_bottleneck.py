"""Bottlenecks: shapes, penalties and where the noise is."""

import pytest
import torch

from textok.models import KLBottleneck, NoisyBottleneck, PlainBottleneck


@pytest.mark.parametrize("kind", [PlainBottleneck, NoisyBottleneck, KLBottleneck])
def test_shapes_and_determinism_in_evaluation(kind):
    neck = kind(12, latent_dim=3).eval()
    h = torch.randn(2, 5, 12)
    latents, penalty = neck(h)
    assert latents.shape == (2, 5, 3)
    assert penalty.shape == ()
    assert torch.equal(neck(h)[0], latents)


@pytest.mark.parametrize("kind", [NoisyBottleneck, KLBottleneck])
def test_training_adds_noise(kind):
    neck, h = kind(12, latent_dim=3).train(), torch.randn(2, 5, 12)
    assert not torch.equal(neck(h)[0], neck(h)[0])


def test_kl_of_a_known_gaussian():
    # KL(N(m, s²) | N(0, 1)) = (m² + s² - 1 - ln s²) / 2: here m = 1, s² = e, so 0.5 (1 + e - 1 - 1) a channel.
    neck = KLBottleneck(4, latent_dim=2)
    torch.nn.init.zeros_(neck.project.weight)
    with torch.no_grad():
        neck.project.bias.fill_(1.0)
    _, penalty = neck(torch.randn(3, 5, 4))
    assert penalty.item() == pytest.approx(5 * 2 * 0.5 * (torch.e - 1.0), rel=1e-6)


def test_noise_of_the_stated_size_on_unit_latents():
    torch.manual_seed(0)
    neck = NoisyBottleneck(8, latent_dim=4, std=0.5)
    h = torch.randn(64, 32, 8)
    clean = neck.eval()(h)[0]
    noisy = neck.train()(h)[0]
    assert (noisy - clean).std().item() == pytest.approx(0.5, rel=0.05)
    assert clean.square().mean().item() == pytest.approx(1.0, rel=0.05)


def test_impossible_choices_are_named():
    with pytest.raises(ValueError, match="latent_dim must be positive, got 0"):
        PlainBottleneck(8, latent_dim=0)
    with pytest.raises(ValueError, match="std must not be negative"):
        NoisyBottleneck(8, std=-1)
    with pytest.raises(ValueError, match="needs 3 of them or more, got latent_dim=2; KLBottleneck"):
        NoisyBottleneck(8, latent_dim=2)

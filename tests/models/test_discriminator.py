from __future__ import annotations

import pytest
import torch

from textok.losses import R1
from textok.models.discriminator import AveragePool, BlurPool, PatchGANDiscriminator, StyleGANDiscriminator
from textok.types import Sizes

SMALL = Sizes(image_size=32)


def small(downsample=AveragePool) -> StyleGANDiscriminator:
    torch.manual_seed(0)
    return StyleGANDiscriminator(SMALL, base_width=16, multipliers=(0.5, 1, 2), downsample=downsample)


def patchgan() -> PatchGANDiscriminator:
    torch.manual_seed(0)
    return PatchGANDiscriminator(SMALL, width=16)


@pytest.mark.parametrize("downsample", [AveragePool, BlurPool])
@pytest.mark.parametrize(
    ("image_size", "multipliers", "expected"),
    [(256, (1, 2, 4, 4, 4, 4), 24_192_385), (512, (0.5, 1, 2, 4, 4, 4, 4), 24_229_377)],
)
def test_parameters_are_those_of_the_paper(image_size, multipliers, expected, downsample):
    with torch.device("meta"):
        network = StyleGANDiscriminator(Sizes(image_size), multipliers=multipliers, downsample=downsample)
        logits = network(torch.empty(2, 3, image_size, image_size))
    assert sum(p.numel() for p in network.parameters()) == expected
    assert logits.shape == (2,)


def test_patchgan_has_the_layers_of_pix2pix():
    with torch.device("meta"):
        network = PatchGANDiscriminator(Sizes(256))
        logits = network(torch.empty(2, 3, 256, 256))
    assert logits.shape == (2, 1, 30, 30)  # pix2pix's map at 256²
    convolutions = 16 * (3 * 64 + 64 * 128 + 128 * 256 + 256 * 512 + 512)
    assert sum(p.numel() for p in network.parameters()) == convolutions + 64 + 1 + 2 * (128 + 256 + 512) == 2_765_633


@pytest.mark.parametrize("make", [small, lambda: small(BlurPool), patchgan])
def test_a_logit_depends_on_its_own_picture_alone(make):
    network = make().double()
    images = torch.randn(4, 3, 32, 32, dtype=torch.float64)
    torch.testing.assert_close(network(images)[:1], network(images[:1]), rtol=0, atol=1e-12)


@pytest.mark.parametrize("make", [small, lambda: small(BlurPool), patchgan])
def test_r1_reaches_every_weight_that_moves_the_gradient(make):
    network = make()
    R1()(network, torch.randn(2, 3, 32, 32)).backward()
    weights = [p for p in network.parameters() if p.ndim > 1]
    assert all(p.grad is not None and p.grad.isfinite().all() and p.grad.abs().sum() > 0 for p in weights)


@pytest.mark.parametrize("make", [small, lambda: small(BlurPool), patchgan])
def test_bfloat16_autocast_stays_near_float32(make):
    network, images = make(), torch.randn(8, 3, 32, 32)
    plain = network(images)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half = network(images)
    half.float().mean().backward()
    assert half.dtype == torch.bfloat16
    assert (half.float() - plain).abs().max() < 0.05 * plain.abs().max().clamp(min=1)


def test_initial_weights_are_xavier_and_biases_zero():
    network = small()
    for layer in network.modules():
        if isinstance(layer, torch.nn.Conv2d):
            fan = layer.weight[0].numel() + layer.weight[:, 0].numel()
            assert layer.weight.abs().max() <= 1.0001 * (6 / fan) ** 0.5
            assert layer.weight.detach().std() == pytest.approx((2 / fan) ** 0.5, rel=0.15)
            assert layer.bias is None or not layer.bias.any()


def test_blur_pool_is_the_1331_filter():
    pool = BlurPool().double()
    impulse = torch.zeros(1, 1, 8, 8, dtype=torch.float64)
    impulse[0, 0, 4, 4] = 64.0
    # Outputs 1 … 3 read rows 1–4, 3–6, 5–8: the impulse at 4 meets the taps 1 (of output 1) and 3 (of output 2).
    line = torch.tensor([0.0, 1.0, 3.0, 0.0], dtype=torch.float64)
    assert torch.equal(pool(impulse)[0, 0], torch.outer(line, line))
    assert torch.equal(AveragePool()(impulse)[0, 0, 2, 2], torch.tensor(16.0, dtype=torch.float64))
    assert not pool.state_dict()


@pytest.mark.parametrize("image_size", [128, 255, 512])
def test_an_image_size_that_does_not_end_on_4_is_refused(image_size):
    with pytest.raises(ValueError, match=f"image_size is {image_size}"):
        StyleGANDiscriminator(Sizes(image_size))


def test_unusable_settings_are_refused():
    with pytest.raises(ValueError, match="no channels"):
        StyleGANDiscriminator(SMALL, base_width=4, multipliers=(0.1, 1, 1))
    with pytest.raises(ValueError, match="width must be"):
        PatchGANDiscriminator(SMALL, width=12)
    with pytest.raises(ValueError, match="at least 24"):
        PatchGANDiscriminator(Sizes(16))
    with pytest.raises(ValueError, match="num_layers"):
        PatchGANDiscriminator(SMALL, num_layers=0)


def test_a_batch_of_noise_is_told_from_a_batch_of_constants():
    network, optimizer_steps = small(), 30
    optimizer = torch.optim.Adam(network.parameters(), 1e-3, betas=(0.0, 0.99))
    real, fake = torch.randn(8, 3, 32, 32), torch.rand(8, 3, 1, 1).expand(-1, -1, 32, 32)
    for _ in range(optimizer_steps):
        loss = torch.nn.functional.softplus(-network(real)).mean() + torch.nn.functional.softplus(network(fake)).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert (network(real) > 0).all() and (network(fake) < 0).all()

"""SSIM against scikit-image."""

import pytest
import torch

from textok.metrics import SSIM


@pytest.mark.parametrize("size", [(11, 11), (32, 32), (65, 48)])
def test_agrees_with_scikit_image(size):
    from skimage.data import astronaut
    from skimage.metrics import structural_similarity

    generator = torch.Generator().manual_seed(0)
    image = torch.from_numpy(astronaut()).permute(2, 0, 1)[:, 60 : 60 + size[0], 180 : 180 + size[1]]
    originals = torch.stack([image, image.flip(1), torch.full_like(image, 17)])
    noise = torch.randn(originals.shape, generator=generator) * torch.tensor([2.0, 30.0, 1.0]).view(3, 1, 1, 1)
    reconstructions = (originals + noise).round().clamp(0, 255).to(torch.uint8)
    metric = SSIM()
    scores = metric.scores(originals, reconstructions)
    for score, one, other in zip(scores, originals, reconstructions):
        expected = structural_similarity(
            one.numpy(),
            other.numpy(),
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
            data_range=255,
            channel_axis=0,
        )
        assert float(score) == pytest.approx(expected, abs=1e-6)


def test_identical_images_score_one():
    images = torch.randint(0, 256, (2, 3, 16, 16), dtype=torch.uint8)
    metric = SSIM()
    metric.update(images, images)
    assert metric.compute()["ssim"] == pytest.approx(1.0, abs=1e-12)


def test_images_smaller_than_the_window():
    with pytest.raises(ValueError, match=r"at least 11 pixels.*8x16"):
        SSIM().update(torch.zeros(1, 3, 8, 16), torch.zeros(1, 3, 8, 16))

"""PSNR by hand."""

import math

import pytest
import torch

from textok.metrics import PSNR


def psnr(originals, reconstructions):
    metric = PSNR()
    metric.update(originals, reconstructions)
    return metric.compute()["psnr"]


def test_mean_over_images_and_not_of_the_pooled_error():
    originals = torch.full((2, 3, 8, 8), 100, dtype=torch.uint8)
    reconstructions = originals.clone()
    reconstructions[0] += 1
    reconstructions[1] += 10
    expected = (20 * math.log10(255 / 1) + 20 * math.log10(255 / 10)) / 2
    assert psnr(originals, reconstructions) == pytest.approx(expected, rel=1e-12)


def test_negative_and_positive_differences_of_bytes():
    dark, bright = torch.zeros(1, 3, 4, 4, dtype=torch.uint8), torch.full((1, 3, 4, 4), 255, dtype=torch.uint8)
    assert psnr(dark, bright) == pytest.approx(0.0, abs=1e-12)
    assert psnr(bright, dark) == pytest.approx(0.0, abs=1e-12)


def test_identical_images_score_the_rounding_error():
    images = torch.rand(2, 3, 8, 8) * 2 - 1
    assert psnr(images, images.clone()) == pytest.approx(10 * math.log10(255**2 * 12), rel=1e-12)


def test_floats_are_rounded_and_clamped_to_bytes():
    originals = torch.tensor([0.0, 255.0]).view(1, 1, 1, 2).expand(1, 3, 2, 2) / 127.5 - 1
    # A third of a level off, and out of range: the same bytes.
    assert psnr(originals, originals * 1.002) > 58.9

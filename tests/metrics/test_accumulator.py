"""The same number at any batch size and on any number of processes."""

import json

import pytest
import torch
import torch.distributed as dist

from textok.metrics import PSNR, SSIM


def pairs(count=65):
    generator = torch.Generator().manual_seed(3)
    originals = torch.randint(0, 256, (count, 3, 16, 16), generator=generator, dtype=torch.uint8)
    noise = torch.randint(-20, 21, originals.shape, generator=generator) * torch.rand(
        count, 1, 1, 1, generator=generator
    )
    return originals, (originals + noise).round().clamp(0, 255).to(torch.uint8)


def measure(originals, reconstructions, batch_size, valid=None, metrics=None):
    numbers = {}
    for metric in metrics or (PSNR(), SSIM()):
        for start in range(0, len(originals), batch_size):
            rows = slice(start, start + batch_size)
            metric.update(originals[rows], reconstructions[rows], valid=None if valid is None else valid[rows])
        numbers |= metric.compute()
    return numbers


@pytest.mark.parametrize("batch_size", [7, 64])
def test_batch_size_does_not_show(batch_size):
    assert measure(*pairs(), batch_size) == pytest.approx(measure(*pairs(), 1), rel=1e-6)


def test_padding_is_left_out():
    originals, reconstructions = pairs(9)
    valid = torch.tensor([True] * 6 + [False] * 3)
    expected = measure(originals[:6], reconstructions[:6], 6)
    assert measure(originals, reconstructions, 4, valid) == pytest.approx(expected, rel=1e-12)
    assert measure(originals, reconstructions, 4) != pytest.approx(expected, rel=1e-6)


def measure_on_rank(rank, folder):
    """One of two ranks; PSNR alone, since all sums are the base's."""
    dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=2)
    originals, reconstructions = pairs()
    # Ranks of 33 and 32 images, the second one padded to the first one's length.
    rows = torch.arange(rank, 66, 2).clamp(max=64)
    valid = torch.arange(rank, 66, 2) < 65
    numbers = measure(originals[rows], reconstructions[rows], 8, valid, metrics=[PSNR()])
    with open(f"{folder}/{rank}.json", "w") as file:
        json.dump(numbers, file)
    dist.destroy_process_group()


def test_world_size_does_not_show(on_two_ranks):
    first, second = on_two_ranks(measure_on_rank)
    assert first == second
    assert first == pytest.approx(measure(*pairs(), 64, metrics=[PSNR()]), rel=1e-6)


def test_compute_changes_nothing_and_reset_forgets():
    originals, reconstructions = pairs(4)
    metric = PSNR()
    metric.update(originals, reconstructions)
    assert metric.compute() == metric.compute()
    metric.reset()
    with pytest.raises(ValueError, match="no image"):
        metric.compute()
    metric.update(originals[:1], reconstructions[:1])
    assert metric.compute() == pytest.approx(measure(originals[:1], reconstructions[:1], 1, metrics=[PSNR()]))


@pytest.mark.parametrize("metric_class", [PSNR, SSIM])
def test_a_nan_pixel_is_not_rounded_away(metric_class):
    images = torch.zeros(2, 3, 16, 16)
    broken = images.clone()
    broken[1, 0, 0, 0] = torch.nan
    metric = metric_class()
    metric.update(images, broken)
    assert torch.tensor(list(metric.compute().values())).isnan().all()
    metric.reset()
    metric.update(images, broken, valid=torch.tensor([True, False]))
    assert torch.tensor(list(metric.compute().values())).isfinite().all()


def test_shapes_must_agree():
    with pytest.raises(ValueError, match=r"\(2, 3, 16, 16\).*\(2, 3, 8, 8\)"):
        PSNR().update(torch.zeros(2, 3, 16, 16), torch.zeros(2, 3, 8, 8))

import pytest
import torch

from textok.datamodules.dataset import seeded
from textok.datamodules.transforms import Augmentation, augment, fit_square


@pytest.fixture
def picture():
    """(3, 48, 64): red grows to the right, green downwards."""
    red = torch.linspace(0, 255, 64).expand(48, 64)
    green = torch.linspace(0, 255, 48)[:, None].expand(48, 64)
    return torch.stack([red, green, torch.zeros(48, 64)]).round().to(torch.uint8)


def test_evaluation_takes_the_centred_square(picture):
    assert torch.equal(fit_square(picture, 48), picture[:, :, 8:56])
    small = fit_square(picture, 16)
    assert small.shape == (3, 16, 16) and small.dtype == torch.uint8
    assert (small.float().mean((1, 2)) - picture[:, :, 8:56].float().mean((1, 2))).abs().max() < 1


def test_reduction_is_antialiased():
    stripes = (torch.arange(64) % 2 * 255).to(torch.uint8).expand(3, 64, 64)
    inner = fit_square(stripes, 16)[:, 2:-2, 2:-2].float()
    assert (inner - 127.5).abs().max() < 3


def test_with_everything_off_training_reads_as_evaluation(picture):
    off = Augmentation(min_crop=1.0, flip=False)
    assert torch.equal(augment(picture, 24, off, seeded(0)), fit_square(picture, 24))


def test_crops_keep_the_aspect_and_stay_in_range(picture):
    # The slope of the ramps tells the crop: 255/63 levels a pixel across, 255/47 down.
    crops = Augmentation(min_crop=0.8, flip=False)
    sides = []
    for number in range(200):
        out = augment(picture, 48, crops, seeded(number)).float()
        across = (out[0, 24, 40] - out[0, 24, 8]) / 32 * 48 / (255 / 63)
        down = (out[1, 40, 24] - out[1, 8, 24]) / 32 * 48 / (255 / 47)
        assert abs(across - down) < 2.5
        sides.append(float(down))
    assert 36 < min(sides) < 40 and 46.5 < max(sides) < 50


def test_half_of_the_pictures_are_mirrored_unless_the_caption_names_a_side(picture):
    flips = Augmentation(min_crop=1.0, flip=True)
    plain = fit_square(picture, 48)

    def mirrored(caption, augmentation=flips):
        outs = [augment(picture, 48, augmentation, seeded(n), caption) for n in range(200)]
        assert all(torch.equal(out, plain) or torch.equal(out, plain.flip(-1)) for out in outs)
        return sum(torch.equal(out, plain.flip(-1)) for out in outs)

    assert 70 < mirrored("a bright copyright sign, leftover") < 130
    for caption in ("leftwards arrow", "a star at the top Right", "right-pointing triangle"):
        assert mirrored(caption) == 0
    assert mirrored("leftwards arrow", Augmentation(min_crop=1.0, keep_sides=False)) > 70


def test_the_result_is_a_function_of_the_generator(picture):
    state = torch.get_rng_state()
    one, two, three = (augment(picture, 32, Augmentation(), seeded(0, 1, n)) for n in (2, 2, 3))
    assert torch.equal(one, two) and not torch.equal(one, three)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("min_crop", [0.0, 1.2, -1.0])
def test_an_impossible_crop_is_refused(min_crop):
    with pytest.raises(ValueError, match="min_crop"):
        Augmentation(min_crop=min_crop)

"""What images may be."""

import pytest
import torch

from textok.metrics.images import checked_uint8


def test_bytes_pass_and_floats_are_rounded_half_up():
    images = torch.arange(48, dtype=torch.uint8).view(1, 3, 4, 4)
    assert checked_uint8(images) is images
    floats = torch.tensor([-1.0, -1.3, 1.0, 1.7, 0.0]).repeat(3, 1).view(1, 3, 1, 5)
    assert checked_uint8(floats)[0, 0, 0].tolist() == [0, 0, 255, 255, 128]
    assert torch.equal(checked_uint8(floats.bfloat16()), checked_uint8(floats.bfloat16().float()))
    # A model early in training: far out of range on both sides, and clamped.
    assert checked_uint8(floats * 30)[0, 0, 0].tolist() == [0, 0, 255, 255, 128]
    assert checked_uint8(torch.zeros(0, 3, 4, 4)).shape == (0, 3, 4, 4)


@pytest.mark.parametrize(
    ("images", "match"),
    [
        (torch.zeros(3, 4, 4), r"\(3, 4, 4\)"),
        (torch.zeros(1, 4, 4, 3), r"\(1, 4, 4, 3\)"),
        (torch.zeros(1, 3, 0, 4), r"\(1, 3, 0, 4\)"),
        (torch.zeros(1, 3, 4, 4, dtype=torch.int64), "int64"),
        (torch.full((1, 3, 4, 4), 127.0), "values from 127 to 127: are these bytes"),
        (torch.full((2, 3, 4, 4), torch.inf), "2 of 2 images hold a NaN or an infinity, the first in row 0"),
    ],
)
def test_what_is_refused(images, match):
    with pytest.raises(ValueError, match=match):
        checked_uint8(images)

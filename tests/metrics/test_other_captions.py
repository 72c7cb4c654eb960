"""Which caption another image lends."""

import pytest
import torch

from textok.metrics import CaptionedReconstruction, other_captions


def test_a_different_caption_of_a_valid_image_half_a_batch_on():
    captions = ["cat", "cat", "dog", "", "bird"]
    assert other_captions(captions, [True] * 5) == ["dog", "bird", "bird", "cat", "cat"]
    assert other_captions(captions, [True, True, True, True, False]) == ["dog", "dog", "cat", "cat", "cat"]
    assert other_captions(list("abcdef"), [True] * 6) == list("defabc")


def test_the_last_spare_caption_where_the_batch_has_no_other():
    assert other_captions(["cat"], [True]) == [None]
    assert other_captions(["cat"], [True], spare=["dog", "fox", "cat"]) == ["fox"]
    assert other_captions(["cat", "dog"], [True, True], spare=["fox"]) == ["dog", "cat"]


@pytest.mark.parametrize("captions", [["a cat"], ["", "", ""]])
def test_without_another_caption_its_numbers_are_left_out(captions):
    metrics = CaptionedReconstruction()
    images = torch.zeros(len(captions), 3, 16, 16)
    valid = torch.ones(len(captions), dtype=torch.bool)
    metrics.update(lambda _: images + 0.1, images, captions, torch.arange(len(captions)), valid)
    assert metrics.compute().keys() == {"psnr", "ssim", "psnr_empty", "ssim_empty"}

from __future__ import annotations

import torch

from textok.frozen.resize import resize


def test_the_right_size_passes_untouched():
    images = torch.rand(2, 3, 8, 8)
    assert resize(images, 8) is images


def test_a_reduction_is_antialiased_so_that_every_pixel_gets_a_gradient():
    images = torch.rand(1, 3, 64, 64, requires_grad=True)
    small = resize(images, 8)
    assert small.shape == (1, 3, 8, 8)
    small.sum().backward()
    assert (images.grad > 0).all()
    stripes = torch.tensor([0.0, 1.0]).repeat(32).expand(1, 3, 64, 64)
    torch.testing.assert_close(resize(stripes, 8), torch.full((1, 3, 8, 8), 0.5), atol=0.03, rtol=0)

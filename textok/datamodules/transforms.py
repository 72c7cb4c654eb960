"""From a picture of any size to a square sample: resizing for evaluation, crop and flip for training.

Everything works on uint8 (3, H, W) and draws from the generator it is given.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import torch
from torch import Tensor
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2 import functional as F

# Words that a mirror image would make wrong: "left", "right", "leftwards", "right-pointing", …
_SIDE = re.compile(r"\b(left|right)(wards?|most|-|\b)", re.IGNORECASE)


@dataclass(frozen=True)
class Augmentation:
    """How training varies a picture. ``min_crop: 1.0`` with ``flip: false`` leaves it as in evaluation.

    MAGVIT-v2 (arXiv 2310.05737, appendix) trains its image tokenizer with crops of 80–100 % and horizontal flips.

    Args:
        min_crop: Smallest crop, as a fraction of the picture's shorter side; 1.0 never crops.
        flip: Mirror half of the pictures.
        keep_sides: Never mirror a picture whose caption says left or right.
    """

    min_crop: float = 0.8
    flip: bool = True
    keep_sides: bool = True

    def __post_init__(self) -> None:
        if not 0.0 < self.min_crop <= 1.0:
            raise ValueError(
                f"min_crop is a fraction of the picture in (0, 1], got {self.min_crop}; 1.0 switches cropping off"
            )


#: What ``fit_square`` does, for the record of a measurement.
FIT_SQUARE = "the largest centred square, bicubic with antialiasing"


def fit_square(image: Tensor, image_size: int) -> Tensor:
    """Evaluation: the largest centred square of the picture, resized.

    Args:
        image: uint8 (3, H, W).
        image_size: Side S of the result (3, S, S).
    """
    side = min(image.shape[-2:])
    top, left = (image.shape[-2] - side) // 2, (image.shape[-1] - side) // 2
    return _resize(image[:, top : top + side, left : left + side], image_size)


def augment(
    image: Tensor,
    image_size: int,
    augmentation: Augmentation,
    generator: torch.Generator,
    caption: str = "",
) -> Tensor:
    """Training: a random square crop (the aspect of things is kept), resized, and mirrored in half of the cases.

    Args:
        image: uint8 (3, H, W).
        image_size: Side S of the result (3, S, S).
        augmentation: What may vary.
        generator: Source of all random numbers; four are drawn in any case.
        caption: The caption that goes with the picture.
    """
    scale, y, x, mirror = torch.rand(4, generator=generator, dtype=torch.float64).tolist()
    if augmentation.min_crop < 1.0:
        height, width = image.shape[-2:]
        side = round(min(height, width) * (1.0 - scale * (1.0 - augmentation.min_crop)))
        top, left = int(y * (height - side + 1)), int(x * (width - side + 1))
        image = _resize(image[:, top : top + side, left : left + side], image_size)
    else:
        image = fit_square(image, image_size)
    may_flip = augmentation.flip and not (augmentation.keep_sides and names_a_side(caption))
    return image.flip(-1) if may_flip and mirror < 0.5 else image


def names_a_side(caption: str) -> bool:
    """Whether a mirror image would contradict a caption: it says left or right."""
    return _SIDE.search(caption) is not None


def _resize(image: Tensor, image_size: int) -> Tensor:
    if image.shape[-1] == image_size:
        return image.contiguous()
    # Antialiased: without the low-pass a reduced picture is full of jaggies that the tokenizer would learn.
    return F.resize(image, [image_size, image_size], InterpolationMode.BICUBIC, antialias=True)

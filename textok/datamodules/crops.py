"""How evaluation makes a square sample of a picture; a plug-in, for numbers of two crops cannot be compared."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from textok.datamodules.transforms import FIT_SQUARE, fit_square


class EvalCrop(ABC):
    """Makes a square of a picture, without chance."""

    #: What it does, for the record of a measurement.
    description: str

    @abstractmethod
    def __call__(self, image: Tensor, image_size: int) -> Tensor:
        """uint8 (3, H, W) → uint8 (3, S, S).

        Args:
            image: The picture.
            image_size: Side S of the result.
        """


class FitSquare(EvalCrop):
    """The largest centred square, resized by an antialiased bicubic filter."""

    description = FIT_SQUARE

    def __call__(self, image: Tensor, image_size: int) -> Tensor:
        return fit_square(image, image_size)


class ADMCrop(EvalCrop):
    """The centre crop of ADM, with which the published ImageNet statistics are made; equal to it bit by bit.

    Halved by averaging while both sides allow it, then resized by PIL's bicubic filter, then cropped (Dhariwal and
    Nichol, arXiv 2105.05233; ``center_crop_arr`` of openai/guided-diffusion).
    """

    description = "ADM's centre crop (halved by PIL's BOX, then BICUBIC)"

    def __call__(self, image: Tensor, image_size: int) -> Tensor:
        picture = Image.fromarray(image.permute(1, 2, 0).contiguous().numpy())
        return torch.from_numpy(adm_crop(picture, image_size)).permute(2, 0, 1).contiguous()


def adm_crop(picture: Image.Image, image_size: int) -> np.ndarray:
    """``ADMCrop`` between PIL and NumPy.

    Args:
        picture: An RGB picture.
        image_size: Side S of the result.

    Returns:
        (S, S, 3) uint8.
    """
    while min(picture.size) >= 2 * image_size:
        picture = picture.resize((picture.width // 2, picture.height // 2), Image.Resampling.BOX)
    scale = image_size / min(picture.size)
    size = (round(picture.width * scale), round(picture.height * scale))
    levels = np.array(picture.resize(size, Image.Resampling.BICUBIC))
    top, left = (levels.shape[0] - image_size) // 2, (levels.shape[1] - image_size) // 2
    return levels[top : top + image_size, left : left + image_size]

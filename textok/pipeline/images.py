"""Pictures of people: files, PIL images, arrays and tensors → the batch that networks take, and back."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from textok.types import from_uint8, to_uint8

Picture: TypeAlias = Image.Image | np.ndarray | Tensor
Output: TypeAlias = Literal["pil", "numpy", "tensor"]


def read_picture(path: str | Path) -> Image.Image:
    """A picture of a file, decoded whole and turned as its EXIF orientation says.

    Raises:
        ValueError: If there is none or it cannot be read.
    """
    try:
        with Image.open(path) as picture:
            return ImageOps.exif_transpose(picture)  # a copy in any case
    except FileNotFoundError:
        raise ValueError(f"there is no picture {path}") from None
    except Exception as error:  # Pillow's decoders raise many kinds, SyntaxError and struct.error among them
        raise ValueError(f"{path} is no picture that can be read ({error})") from error


def to_batch(pictures: Picture | Sequence[Picture], image_size: int) -> Tensor:
    """Pictures → (B, 3, S, S) float in [−1, 1].

    Bytes of any size are cropped to the largest centred square and resized as for evaluation; transparency is laid on
    white. A float tensor is taken as it is.

    Args:
        pictures: One or several: PIL images; uint8 arrays (H, W, 3) or (B, H, W, 3); uint8 tensors (3, H, W) or
            (B, 3, H, W); float tensors of these shapes, in [−1, 1] and of the model's size.
        image_size: Side S.

    Raises:
        ValueError: If a picture is of another kind, type or shape.
    """
    parts = list(pictures) if isinstance(pictures, list | tuple) else [pictures]
    rows = [row for part in parts for row in _rows(part)]
    if not rows:
        raise ValueError("there are no pictures")
    return torch.stack([_fitted(row, image_size) for row in rows])


def from_batch(images: Tensor, output: Output) -> list[Image.Image] | np.ndarray | Tensor:
    """(B, 3, S, S) float in about [−1, 1] → PIL images, a uint8 array (B, S, S, 3), or the tensor itself."""
    if output == "tensor":
        return images
    array = to_uint8(images).permute(0, 2, 3, 1).contiguous().cpu().numpy()
    if output == "numpy":
        return array
    if output == "pil":
        return [Image.fromarray(each) for each in array]
    raise ValueError(f"output must be pil, numpy or tensor, got {output!r}")


def _rows(part: Picture) -> list[Tensor]:
    """The pictures (3, H, W) of one argument."""
    if isinstance(part, Image.Image):
        rgba = part.convert("RGBA")
        flat = Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba).convert("RGB")
        return [torch.from_numpy(np.array(flat)).permute(2, 0, 1)]
    if isinstance(part, np.ndarray):
        if part.dtype != np.uint8 or part.ndim not in (3, 4) or part.shape[-1] != 3:
            raise ValueError(f"an array must be uint8 (H, W, 3) or (B, H, W, 3), got {part.dtype} {part.shape}")
        tensor = torch.from_numpy(part).movedim(-1, -3)
        return list(tensor) if part.ndim == 4 else [tensor]
    if isinstance(part, Tensor):
        if (
            part.ndim not in (3, 4)
            or part.shape[-3] != 3
            or not (part.dtype == torch.uint8 or part.is_floating_point())
        ):
            raise ValueError(
                f"a tensor must be uint8 or float (3, H, W) or (B, 3, H, W), got {part.dtype} {tuple(part.shape)}"
            )
        return list(part) if part.ndim == 4 else [part]
    raise ValueError(f"a picture must be a PIL image, an array or a tensor, got {type(part).__name__}")


def _fitted(image: Tensor, image_size: int) -> Tensor:
    if image.is_floating_point():
        if tuple(image.shape) != (3, image_size, image_size):
            raise ValueError(
                f"a float picture must have the model's size (3, {image_size}, {image_size}), got {tuple(image.shape)}"
            )
        return image.float()
    from torchvision.transforms.v2 import InterpolationMode
    from torchvision.transforms.v2 import functional as F

    side = min(image.shape[1:])
    image = F.center_crop(image, [side, side])
    if side != image_size:
        image = F.resize(image, [image_size, image_size], InterpolationMode.BICUBIC, antialias=True)
    return from_uint8(image)

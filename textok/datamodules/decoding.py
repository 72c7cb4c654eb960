"""From the bytes of a picture to uint8 (3, H, W) in RGB, whatever it was stored as.

Evaluation decodes with PIL, as the code that published numbers come from does. Training may take a fast path: JPEG by
torchvision, and by a reduced inverse transform where the picture is far larger than the sample.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor
from torchvision.io import ImageReadMode, decode_jpeg

_ORIENTATION = 0x0112  # the EXIF tag; 1 is upright


class BadImage(ValueError):
    """A picture that cannot be read.

    Args:
        key: The picture's name.
        reason: Why not, in a few words.
    """

    def __init__(self, key: str, reason: str) -> None:
        super().__init__(key, reason)  # both, for an exception is rebuilt from its arguments when it is unpickled
        self.key = key
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.key}: {self.reason}"


@dataclass(frozen=True)
class Decoder:
    """How the bytes of a picture become RGB.

    Grey, palette and CMYK are converted; of 16 bits the upper 8 are kept, rounded; what is transparent is laid on
    white; of an animation the first frame is taken.

    Args:
        upright: Turn pictures as their EXIF orientation says. ADM's reference statistics are of pictures as stored.
        max_pixels: Larger pictures are bad: a file of a few kilobytes can hold gigabytes of one colour.
    """

    upright: bool = True
    max_pixels: int = 100_000_000

    def __post_init__(self) -> None:
        if self.max_pixels < 1:
            raise ValueError(f"max_pixels must be at least 1, got {self.max_pixels}")

    def exact(self, data: bytes, key: str) -> Tensor:
        """The picture at its full size, by PIL.

        Args:
            data: The bytes of the file.
            key: The picture's name.

        Raises:
            BadImage: If it cannot be read.
        """
        with self._opened(data, key) as image:
            return _to_tensor(self._to_rgb(image))

    def fast(self, data: bytes, key: str, shorter_side: int) -> Tensor:
        """The picture for training: a JPEG at a half, a quarter or an eighth of its size where that is large enough.

        Args:
            data: The bytes of the file.
            key: The picture's name.
            shorter_side: What the shorter side of the result must at least be, if the picture has as many pixels.

        Raises:
            BadImage: If it cannot be read.
        """
        with self._opened(data, key) as image:
            if image.format == "JPEG" and image.mode in ("RGB", "L"):
                if min(image.size) >= 2 * shorter_side:
                    # libjpeg then computes only the low frequencies of each block.
                    image.draft(image.mode, _covering(image.size, shorter_side))
                elif not self.upright or _is_upright(image):
                    # A copy, for torch wants memory that may be written to.
                    encoded = torch.frombuffer(bytearray(data), dtype=torch.uint8)
                    try:
                        return decode_jpeg(encoded, mode=ImageReadMode.RGB)
                    except RuntimeError:
                        pass  # what torchvision refuses, PIL may still read, or says in plain words why not
            return _to_tensor(self._to_rgb(image))

    @contextmanager
    def _opened(self, data: bytes, key: str) -> Iterator[Image.Image]:
        if not data:
            raise BadImage(key, "the file has no bytes")
        limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None  # max_pixels is the limit here
        try:
            with Image.open(io.BytesIO(data)) as image:
                width, height = image.size
                if width * height > self.max_pixels:
                    raise BadImage(key, f"{width} x {height} pixels are more than max_pixels = {self.max_pixels}")
                yield image
        except BadImage:
            raise
        except Exception as error:  # damaged bytes make the readers of PIL raise almost anything
            reason = str(error).split("<_io")[0].removesuffix(" file ") or type(error).__name__
            raise BadImage(key, " ".join(reason.split())) from error
        finally:
            Image.MAX_IMAGE_PIXELS = limit

    def _to_rgb(self, image: Image.Image) -> Image.Image:
        if self.upright:
            image = ImageOps.exif_transpose(image)
        if image.mode == "F":
            raise ValueError("pixels are floating-point numbers of an unknown range")
        if image.mode.startswith("I"):  # 16 bits a pixel, which convert() would clip at 255
            levels = np.asarray(image).astype(np.float64)
            image = Image.fromarray((np.clip(levels, 0, 65535) / 257).round().astype(np.uint8))
        if image.has_transparency_data:
            image = image.convert("RGBA")
            white = Image.new("RGBA", image.size, (255, 255, 255, 255))
            image = Image.alpha_composite(white, image)
        return image.convert("RGB")


def _covering(size: tuple[int, int], shorter_side: int) -> tuple[int, int]:
    """The least size of this aspect whose shorter side has so many pixels."""
    scale = shorter_side / min(size)
    return -int(-size[0] * scale // 1), -int(-size[1] * scale // 1)


def _is_upright(image: Image.Image) -> bool:
    # Asked first for what may tell the orientation: most pictures have neither, and getexif() takes a while to say so.
    tells = "exif" in image.info or "xmp" in image.info
    return not tells or image.getexif().get(_ORIENTATION, 1) == 1


def _to_tensor(image: Image.Image) -> Tensor:
    # The channels of a pixel stay together: what follows is faster so, and copies only what it keeps.
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)

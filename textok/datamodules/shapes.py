"""Captioned scenes of simple shapes, drawn on demand: any size, any number, and nothing to download.

Picture i is a pure function of (seed, i). Its caption tells everything that was chosen but a shape's last few pixels
of position, so what a model gains from text can be measured here without noise.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from textok.datamodules.bank_captions import BankCaptions
from textok.datamodules.base import ImageDataModule, Splits
from textok.datamodules.dataset import CaptionedImages
from textok.datamodules.policies import CaptionPolicy
from textok.datamodules.transforms import Augmentation

COLORS = {
    "black": (20, 20, 20),
    "white": (245, 245, 245),
    "gray": (140, 140, 140),
    "red": (215, 35, 40),
    "orange": (250, 140, 20),
    "yellow": (250, 220, 50),
    "green": (40, 155, 65),
    "cyan": (60, 205, 215),
    "blue": (35, 75, 215),
    "purple": (125, 45, 160),
    "pink": (250, 150, 195),
    "brown": (125, 75, 35),
}
_RGB = {name: np.array(rgb, np.float32) for name, rgb in COLORS.items()}
# Radius as a fraction of the image on the 3 × 3 grid, where a large shape just fits its cell with the jitter.
RADII = {"small": 0.085, "medium": 0.118, "large": 0.150}
JITTER = 0.015
PLACES = {
    2: ["top left", "top right", "bottom left", "bottom right"],
    3: ["top left", "top", "top right", "left", "center", "right", "bottom left", "bottom", "bottom right"],
}
MAX_SHAPES = 4
# Held-out pictures are numbered from here, so their set does not move with the size of the training set.
FIRST_HELD_OUT = 1 << 40

_Distance = Callable[[np.ndarray, np.ndarray], np.ndarray]


class ShapesDataModule(ImageDataModule):
    """Up to four shapes on a grid; the caption tells kind, colour, size and place of each, and the background.

    The label is the kind of the shape that is named first, the largest. By default pictures are not varied: a mirror
    image or a crop would contradict its caption, and there are as many new pictures as one likes.

    Args:
        image_size: Height and width of the samples in pixels, at least 8.
        num_classes: The eight kinds of shapes.
        num_train: Pictures to train on.
        num_val: Held-out pictures.
        max_shapes: Most shapes of a picture, 1 to 4; fewer have shorter captions.
        grid: Cells of a row and of a column, 2 or 3; on 2 × 2 shapes are half as large again, and sooner learned.
        batch_size: Images of a training batch on one process.
        eval_batch_size: Images of an evaluation batch on one process; None takes ``batch_size``.
        num_workers: Worker processes of each loader; 0 draws in the main process.
        seed: Seed of the pictures, of their order and of augmentation.
        augmentation: How training varies the pictures.
        caption_policy: Which caption an image gets; None takes the first.
        caption_bank: Captions from a bank instead of the dataset's own.
        text_cache: Folder that textok cache text wrote: batches bring text tokens and no encoder is loaded.
    """

    def __init__(
        self,
        image_size: int = 32,
        num_classes: int = 8,
        num_train: int = 10_000,
        num_val: int = 500,
        max_shapes: int = MAX_SHAPES,
        grid: int = 3,
        batch_size: int = 64,
        eval_batch_size: int | None = None,
        num_workers: int = 0,
        seed: int = 0,
        augmentation: Augmentation = Augmentation(min_crop=1.0, flip=False),  # noqa: B008 - frozen
        caption_policy: CaptionPolicy | None = None,
        caption_bank: BankCaptions | None = None,
        text_cache: Path | None = None,
    ) -> None:
        if image_size < 8:
            raise ValueError(f"image_size is {image_size}, but shapes cannot be told apart below 8 pixels")
        for name, value in {"num_train": num_train, "num_val": num_val}.items():
            if not 0 < value < FIRST_HELD_OUT:
                raise ValueError(f"{name} must be positive, got {value}")
        if not 1 <= max_shapes <= MAX_SHAPES:
            raise ValueError(f"max_shapes must lie in 1 … {MAX_SHAPES}, got {max_shapes}")
        if grid not in PLACES:
            raise ValueError(f"grid must be 2 or 3, got {grid}")
        super().__init__(
            image_size,
            num_classes,
            batch_size,
            eval_batch_size,
            num_workers,
            seed,
            augmentation,
            caption_policy,
            caption_bank,
            text_cache,
        )
        self.num_train = num_train
        self.num_val = num_val
        self.max_shapes = max_shapes
        self.grid = grid

    def load(self) -> Splits:
        return Splits(
            Shapes(self.image_size, self.num_train, 0, self.seed, self.max_shapes, self.grid),
            Shapes(self.image_size, self.num_val, FIRST_HELD_OUT, self.seed, self.max_shapes, self.grid),
            list(KINDS),
        )


@dataclass(frozen=True)
class Shape:
    """One shape of a scene; all but the centre is told by a word of the caption."""

    kind: str
    color: str
    size: str
    place: str
    center: tuple[float, float]

    def __str__(self) -> str:
        return f"a {self.size} {self.color} {self.kind} at the {self.place}"


@dataclass(frozen=True)
class Scene:
    """What picture i shows, the largest shape first."""

    background: str
    shapes: tuple[Shape, ...]
    grid: int = 3

    def radius(self, shape: Shape) -> float:
        """As a fraction of the image: cells of a coarser grid are larger, and the shapes with them."""
        return RADII[shape.size] * 3 / self.grid

    @property
    def caption(self) -> str:
        *rest, last = map(str, self.shapes)
        listed = f"{', '.join(rest)} and {last}" if rest else last
        return f"{listed} on a {self.background} background".replace(" a orange", " an orange")


class Shapes(CaptionedImages):
    """Scenes ``first … first + count - 1`` of a seed.

    Args:
        image_size: Height and width S.
        count: Number of pictures.
        first: Number of the first one.
        seed: Seed of all.
        max_shapes: Most shapes of a scene.
        grid: Cells of a row and of a column.
    """

    def __init__(
        self, image_size: int, count: int, first: int = 0, seed: int = 0, max_shapes: int = MAX_SHAPES, grid: int = 3
    ) -> None:
        self.image_size = image_size
        self.count = count
        self.first = first
        self.seed = seed
        self.max_shapes = max_shapes
        self.grid = grid
        self._kinds = list(KINDS)
        # A sample asks for the label, the caption and the picture of the same scene one after the other.
        self._latest: tuple[int, Scene] | None = None

    def __len__(self) -> int:
        return self.count

    def scene(self, index: int) -> Scene:
        """What the picture shows."""
        if self._latest is None or self._latest[0] != index:
            self._latest = (index, draw_scene(self.seed, self.first + index, self.max_shapes, self.grid))
        return self._latest[1]

    def image(self, index: int) -> Tensor:
        return torch.from_numpy(render(self.scene(index), self.image_size)).permute(2, 0, 1).contiguous()

    def captions(self, index: int) -> list[str]:
        return [self.scene(index).caption]

    def label(self, index: int) -> int:
        return self._kinds.index(self.scene(index).shapes[0].kind)

    def key(self, index: int) -> str:
        kept = "" if self.max_shapes == MAX_SHAPES else f"-{self.max_shapes}"
        grid = "" if self.grid == 3 else f"-{self.grid}x{self.grid}"
        return f"shapes{kept}{grid}-{self.seed}-{self.first + index}"


def draw_scene(seed: int, number: int, max_shapes: int = MAX_SHAPES, grid: int = 3) -> Scene:
    """The scene of a number, of one to ``max_shapes`` shapes on ``grid`` × ``grid`` cells."""
    # Seeded with text, and drawn from with random() alone: both are promised to stay the same in all Python versions.
    draw = random.Random(f"{seed} {number}").random

    def pick(options: list[str]) -> str:
        return options[int(draw() * len(options))]

    def shuffled(options: Iterable) -> list:
        return sorted(options, key=lambda _: draw())

    background, *colors = shuffled(COLORS)
    places = PLACES[grid]
    cells = shuffled(range(len(places)))[: 1 + int(draw() * max_shapes)]
    shapes = []
    for cell in sorted(cells):
        center = [(part + 0.5) / grid + JITTER * (2 * draw() - 1) for part in (cell % grid, cell // grid)]
        shapes.append(Shape(pick(list(KINDS)), pick(colors), pick(list(RADII)), places[cell], tuple(center)))
    # The largest first; the sort is stable, so equals stay in reading order.
    shapes.sort(key=lambda shape: -RADII[shape.size])
    return Scene(background, tuple(shapes), grid)


def render(scene: Scene, image_size: int) -> np.ndarray:
    """Draw a scene as uint8 (S, S, 3).

    A pixel is covered by ``clip(½ − d, 0, 1)`` of a shape whose edge is d pixels away from the pixel's centre.
    """
    picture = np.empty((image_size, image_size, 3), np.float32)
    picture[:] = _RGB[scene.background]
    for shape in scene.shapes:
        radius = scene.radius(shape) * image_size
        x, y = (c * image_size for c in shape.center)
        # Only the shape's own box, one pixel wider for its soft edge.
        left, right = max(int(x - radius) - 1, 0), min(int(x + radius) + 2, image_size)
        top, bottom = max(int(y - radius) - 1, 0), min(int(y + radius) + 2, image_size)
        u = (np.arange(left, right, dtype=np.float32) + 0.5 - x)[None, :] / radius
        v = (np.arange(top, bottom, dtype=np.float32) + 0.5 - y)[:, None] / radius
        # Two ufuncs: np.clip's Python layer costs more than the clipping of so few pixels.
        cover = np.minimum(np.maximum(0.5 - KINDS[shape.kind](u, v) * radius, 0.0), 1.0)[..., None]
        box = picture[top:bottom, left:right]
        box += cover * (_RGB[shape.color] - box)
    return (picture + 0.5).astype(np.uint8)


def _box(u: np.ndarray, v: np.ndarray, width: float, height: float) -> np.ndarray:
    return np.maximum(np.abs(u) - width, np.abs(v) - height)


def _star(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Five points: all ten edges are one line once the angle is folded into a tenth of the circle."""
    radius, angle = np.hypot(u, v), np.arctan2(u, -v)
    folded = np.abs((angle + np.pi / 5) % (2 * np.pi / 5) - np.pi / 5)
    # The line from the tip (0, 1) to the notch at 36° and radius 0.45.
    notch_x, notch_y = 0.45 * np.sin(np.pi / 5), 0.45 * np.cos(np.pi / 5)
    nx, ny = 1 - notch_y, notch_x
    return (radius * np.sin(folded) * nx + (radius * np.cos(folded) - 1) * ny) / np.hypot(nx, ny)


def _triangle(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    # Three half-planes half a radius from a centre that lies a quarter below the box's, so that the shape fills it.
    return np.maximum(np.abs(u) * 0.866 - (v - 0.25) * 0.5, v - 0.25) - 0.5


# Each kind as a signed distance, in radii, from its edge: negative inside the unit circle's square.
KINDS: dict[str, _Distance] = {
    "circle": lambda u, v: np.hypot(u, v) - 0.95,
    "square": lambda u, v: _box(u, v, 0.85, 0.85),
    "triangle": _triangle,
    "star": _star,
    "ring": lambda u, v: np.abs(np.hypot(u, v) - 0.72) - 0.23,
    "cross": lambda u, v: np.minimum(_box(u, v, 0.3, 0.95), _box(u, v, 0.95, 0.3)),
    "diamond": lambda u, v: (np.abs(u) + np.abs(v) * 0.7 - 0.7) / 1.22,
    "crescent": lambda u, v: np.maximum(np.hypot(u, v) - 0.95, 0.75 - np.hypot(u - 0.42, v)),
}

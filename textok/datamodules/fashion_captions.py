"""Captions of Fashion-MNIST: what a picture's class is, and what one sees in it.

The second kind stands for the captions of a vision-language model, which look at the picture too: it says in words what
can be measured in the box around what is brighter than ``LIT``. Each word is for a range of one number, and the ranges
divide the training pictures into parts of similar size.
"""

from __future__ import annotations

import numpy as np

LIT = 32
#: Words for a number below a bound; the last one is for the rest.
TONE = ((125, "black"), (155, "dark gray"), (180, "gray"), (200, "light gray"), (256, "white"))
SURFACE = ((40, "plain"), (55, "textured"), (512, "patterned"))
WIDTH = ((18, "narrow"), (23, "slim"), (28, "wide"), (29, "very wide"))
HEIGHT = ((14, "flat"), (20, "low"), (28, "tall"), (29, "very tall"))
SHADE = ((-8, "darker at the top"), (8, ""), (256, "darker at the bottom"))
#: The same of a third of the box, single words: mean extent across it, and tone.
THIRD_WIDTH = ((10, "narrow"), (15, "slim"), (19, "wide"), (29, "full"))
THIRD_HEIGHT = ((12, "flat"), (18, "low"), (22, "tall"), (29, "full"))
THIRD_TONE = tuple(zip((125, 155, 180, 200, 256), ("black", "dark", "gray", "light", "white")))
MIDDLE = ((0, "dark in the middle"), (15, ""), (256, "bright in the middle"))


def class_caption(name: str) -> str:
    """A class's caption: "a photo of an ankle boot"."""
    return f"a photo of {'an' if name[0] in 'aeiou' else 'a'} {name}"


def described(name: str, picture: np.ndarray) -> str:
    """A caption that looks: "a photo of a white dress, plain, narrow and very tall, darker at the top".

    Args:
        name: The class.
        picture: uint8 (28, 28).
    """
    grey, lit = in_box(picture)  # (H', W')
    height, width = grey.shape
    # Between neighbours in the clothing: its seams and prints, not its outline.
    steps = np.abs(np.diff(grey, axis=0))[lit[1:] & lit[:-1]].sum()
    steps += np.abs(np.diff(grey, axis=1))[lit[:, 1:] & lit[:, :-1]].sum()
    half, middle = height // 2, np.zeros(width, bool)
    middle[width // 3 : width - width // 3] = True
    words = [
        class_caption(f"{word(TONE, mean(grey, lit))} {name}"),
        word(SURFACE, steps / max(lit.sum(), 1)),
        f"{word(WIDTH, width)} and {word(HEIGHT, height)}",
        word(SHADE, mean(grey[:half], lit[:half]) - mean(grey[half:], lit[half:])),
        word(MIDDLE, mean(grey[:, middle], lit[:, middle]) - mean(grey[:, ~middle], lit[:, ~middle])),
    ]
    return ", ".join(part for part in words if part)


def detailed(name: str, picture: np.ndarray) -> str:
    """What ``described`` says, and how wide or tall and of what tone each third is, downwards and to the right.

    "…, top wide white, middle slim gray, bottom slim dark, left low gray, center full white, right low gray"

    Args:
        name: The class.
        picture: uint8 (28, 28).
    """
    grey, lit = in_box(picture)
    parts = [described(name, picture)]
    for names, extents, greys, lits in (
        (("top", "middle", "bottom"), THIRD_WIDTH, grey, lit),
        (("left", "center", "right"), THIRD_HEIGHT, grey.T, lit.T),
    ):
        for place, part, seen in zip(names, np.array_split(greys, 3), np.array_split(lits, 3)):
            extent = seen.sum() / max(len(seen), 1)  # pixels of clothing in a row of the third
            parts.append(f"{place} {word(extents, extent)} {word(THIRD_TONE, mean(part, seen))}")
    return ", ".join(parts)


def in_box(picture: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Grey values in the box around the clothing and which of them are lit: (28, 28) → two (H', W')."""
    rows, columns = np.nonzero(picture > LIT)
    box = (slice(rows.min(), rows.max() + 1), slice(columns.min(), columns.max() + 1)) if len(rows) else (slice(0),) * 2
    return picture[box].astype(np.float32), picture[box] > LIT


def mean(grey: np.ndarray, lit: np.ndarray) -> float:
    """Mean of the lit pixels; 0 where there are none."""
    return float(grey[lit].sum() / max(lit.sum(), 1))


def word(words: tuple[tuple[int, str], ...], value: float) -> str:
    """The word for a number."""
    return next(name for bound, name in words if value < bound)

"""Reconstructions of several runs side by side, as in the paper's figure 1.

The tiles are cut back out of the pictures that ``ReconstructionGrid`` leaves in each run folder, so that neither
checkpoint nor data are needed. Pictures are matched by their originals' pixels, never by position.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from textok.report.record import RunRecord

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from PIL import Image

MARKER = (255, 0, 255)
ROWS = ("without text", "with text")


def compare_reconstructions(records: Sequence[RunRecord], num_images: int = 4) -> Image.Image | None:
    """A grid with token counts across, and without and with text down, for each of some pictures.

    Args:
        records: Runs of one setting; those that are no tokenizer or left no picture are passed over.
        num_images: Pictures at most.

    Returns:
        The grid; None where fewer than two runs show the same picture.
    """
    import numpy as np
    import torch

    from textok.callbacks.drawing import DARK, draw_grid

    cells: dict[tuple[str, int], dict[bytes, tuple[np.ndarray, np.ndarray]]] = {}
    for record in records:
        picture, key = record.picture("reconstruction"), (record.text, record.num_latents)
        if record.stage == "tokenizer" and record.text in ROWS and picture and record.image_size and key not in cells:
            columns = cut_tiles(picture, record.image_size)
            cells[key] = {column[0].tobytes(): (column[0], column[1]) for column in columns}
    shared = [key for key in next(iter(cells.values()), {}) if all(key in tiles for tiles in cells.values())]
    if len(cells) < 2 or not shared:
        return None
    counts = sorted({count for _, count in cells})
    texts = [text for text in ROWS if any(text == row for row, _ in cells)]
    rows, labels = [], []
    for key in shared[:num_images]:
        original = next(iter(cells.values()))[key][0]
        blank = np.full_like(original, 255)
        for text in texts:
            tiles = [cells[text, count][key][1] if (text, count) in cells else blank for count in counts]
            rows.append([torch.from_numpy(tile).permute(2, 0, 1) for tile in (original, *tiles)])
            labels.append(text)
    footers = [[(words, 2, DARK)] for words in ("original", *(f"{count} tokens" for count in counts))]
    return draw_grid(rows, row_labels=labels, footers=footers)


def cut_tiles(path: Path, image_size: int) -> list[list[np.ndarray]]:
    """The tiles of a run's reconstruction picture: for each column its original and its reconstructions.

    Returns:
        Columns of uint8 (H, W, 3) tiles in the images' own size; none if the picture has another layout.
    """
    import numpy as np
    from PIL import Image

    from textok.callbacks.drawing import GAP, MARGIN

    with Image.open(path) as file:
        picture = np.asarray(file.convert("RGB"))
    left, top, side = layout(image_size)
    if side % image_size:
        return []
    pitch = side + GAP
    num_rows = min(2, (picture.shape[0] - top - MARGIN + GAP) // pitch)
    num_columns = (picture.shape[1] - left - MARGIN + GAP) // pitch
    if num_rows < 2:
        return []
    step = side // image_size
    columns = []
    for x in range(left, left + num_columns * pitch, pitch):
        tiles = [picture[y : y + side : step, x : x + side : step] for y in (top, top + pitch)]
        if (tiles[0] != 255).any():  # a long title makes the picture wider than its columns
            columns.append([np.ascontiguousarray(tile) for tile in tiles])
    return columns


def layout(image_size: int) -> tuple[int, int, int]:
    """Where ``draw_grid`` puts the first tile under a title and beside row labels, and how large: left, top, side."""
    import numpy as np
    import torch

    from textok.callbacks.drawing import draw_grid

    tile = torch.tensor(MARKER, dtype=torch.uint8).view(3, 1, 1).expand(3, image_size, image_size)
    found = (np.asarray(draw_grid([[tile]], row_labels=[" "], title=" ")) == MARKER).all(axis=2)
    ys, xs = np.nonzero(found)
    return int(xs.min()), int(ys.min()), int(xs.max() - xs.min()) + 1

"""Draws grids of pictures with their labels and captions."""

from __future__ import annotations

import re
from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

MARGIN = 16
GAP = 6
LABEL_WIDTH = 104
DARK = "#1f2328"
GREY = "#6e7781"


def draw_grid(
    rows: Sequence[Sequence[Tensor]],
    row_labels: Sequence[str] = (),
    footers: Sequence[Sequence[tuple[str, int, str]]] = (),
    title: str = "",
    tile_size: int = 128,
) -> Image.Image:
    """A grid of pictures on white: labels to the left of the rows, text beneath the columns, a title on top.

    Args:
        rows: Rows of uint8 (3, H, W) pictures, all of one size; a row may be shorter than the others.
        row_labels: One label a row, wrapped; none leaves the column out.
        footers: For each column its paragraphs, each a text, a greatest number of lines and a colour.
        title: One line above the grid.
        tile_size: Pictures smaller than this are enlarged by the whole factor that comes nearest to it.
    """
    if not rows or not rows[0]:
        raise ValueError("a grid needs at least one picture")
    height, width = rows[0][0].shape[-2:]
    factor = max(1, round(tile_size / max(height, width)))
    height, width = height * factor, width * factor
    title_font, label_font, text_font = (ImageFont.load_default(size) for size in (18, 14, 12))

    left = MARGIN + (LABEL_WIDTH if row_labels else 0)
    top = MARGIN + (_line_height(title_font) + 2 * GAP if title else 0)
    columns = max(len(row) for row in rows)
    footer_lines = [
        [(line, colour) for text, limit, colour in paragraphs for line in wrap(text, text_font, width, limit)]
        for paragraphs in footers
    ]
    footer_height = GAP + max((len(lines) for lines in footer_lines), default=0) * _line_height(text_font)
    picture = Image.new(
        "RGB",
        (
            max(left + columns * (width + GAP) - GAP, MARGIN + int(title_font.getlength(title))) + MARGIN,
            top + len(rows) * (height + GAP) - GAP + (footer_height if footers else 0) + MARGIN,
        ),
        "white",
    )
    draw = ImageDraw.Draw(picture)
    if title:
        draw.text((MARGIN, MARGIN), title, DARK, title_font)
    for number, row in enumerate(rows):
        y = top + number * (height + GAP)
        if row_labels:
            lines = wrap(row_labels[number], label_font, LABEL_WIDTH - 2 * GAP, height // _line_height(label_font))
            _draw_lines(draw, (MARGIN, y + (height - len(lines) * _line_height(label_font)) // 2), lines, label_font)
        for column, tile in enumerate(row):
            tile = Image.fromarray(tile.permute(1, 2, 0).contiguous().numpy())
            picture.paste(tile.resize((width, height), Image.Resampling.NEAREST), (left + column * (width + GAP), y))
    y = top + len(rows) * (height + GAP)
    for column, lines in enumerate(footer_lines):
        for number, (line, colour) in enumerate(lines):
            position = (left + column * (width + GAP), y + number * _line_height(text_font))
            draw.text(position, line, colour, text_font)
    return picture


def wrap(text: str, font: ImageFont.FreeTypeFont, width: int, max_lines: int) -> list[str]:
    """Break a text into lines of at most ``width`` pixels; an ellipsis ends what had to be cut."""
    lines = [""]
    # Pieces end at a space or a hyphen, where a line may end too.
    for piece in re.split(r"(?<=[ -])", " ".join(text.split())):
        if font.getlength((lines[-1] + piece).rstrip()) <= width:
            lines[-1] += piece
            continue
        lines.append("")
        for character in piece:
            if lines[-1] and font.getlength((lines[-1] + character).rstrip()) > width:
                lines.append("")
            lines[-1] += character
    lines = [line.rstrip() for line in lines if line.strip()]
    if len(lines) > max_lines:
        lines = lines[:max_lines]
        while lines[-1] and font.getlength(lines[-1] + "…") > width:
            lines[-1] = lines[-1][:-1]
        lines[-1] = lines[-1].rstrip() + "…"
    return lines


def _line_height(font: ImageFont.FreeTypeFont) -> int:
    ascent, descent = font.getmetrics()
    return ascent + descent + 2


def _draw_lines(
    draw: ImageDraw.ImageDraw, position: tuple[int, int], lines: list[str], font: ImageFont.FreeTypeFont
) -> None:
    x, y = position
    for number, line in enumerate(lines):
        draw.text((x, y + number * _line_height(font)), line, DARK, font)

"""Draw ``docs/figure.png``: how a picture and its caption travel through both stages.

    python docs/figure.py [--output docs/figure.png]

The picture is one of the packed emoji; on the right it stands for the reconstruction and is not a model's output.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

from textok.datamodules import CaptionedImages, EmojiDataModule

EMOJI = "1f99c"
INK, FAINT = "#1f2933", "#7b8794"
PATCH, LATENT, TEXT, FROZEN = "#3b82c4", "#e07b27", "#3f9b6b", "#8a94a3"
TILE, PITCH = 3.0, 3.9
WIDTH, HEIGHT = 172.0, 76.0

#: Heights of a column's tokens: five for patches, three for latents, three for text.
PATCH_ROWS = [58.5 - PITCH * i for i in range(5)]
LATENT_ROWS = [36.5 - PITCH * i for i in range(3)]
TEXT_ROWS = [22.3 - PITCH * i for i in range(3)]


def tint(color: str, share: float = 0.14) -> tuple[float, ...]:
    """A color mixed with white."""
    return tuple(1 - share * (1 - channel) for channel in to_rgb(color))


def rounded(ax: Axes, x: float, y: float, width: float, height: float, radius: float, **style: object) -> None:
    shape = f"round,pad=0,rounding_size={radius}"
    ax.add_patch(FancyBboxPatch((x, y), width, height, boxstyle=shape, **style))


def box(ax: Axes, x: float, y: float, width: float, height: float, color: str, text: str, size: float = 11.5) -> None:
    """A rounded box with its name in the middle."""
    rounded(ax, x, y, width, height, 1.4, facecolor=tint(color), edgecolor=color, linewidth=1.6)
    note(ax, x + width / 2, y + height / 2, text, size=size)


def tokens(ax: Axes, x: float, rows: list[float], color: str, kind: str = "solid") -> None:
    """A column of tokens: solid where they carry something, learned ones hollow, dropped ones faint."""
    edge = tint(color, 0.4) if kind == "dropped" else color
    width = 1.0 if kind == "dropped" else 1.6
    for y in rows:
        face, dash = (color, "-") if kind == "solid" else ("white", (0, (2, 1.2)))
        rounded(ax, x, y, TILE, TILE, 0.5, facecolor=face, edgecolor=edge, linewidth=width, linestyle=dash)


def line(ax: Axes, *points: tuple[float, float], color: str = INK) -> None:
    ax.plot(*zip(*points), color=color, linewidth=1.5, solid_joinstyle="round", solid_capstyle="butt")


def arrow(ax: Axes, start: tuple[float, float], end: tuple[float, float], color: str = INK) -> None:
    style = dict(arrowstyle="-|>", mutation_scale=12, linewidth=1.5, shrinkA=0, shrinkB=0)
    ax.add_patch(FancyArrowPatch(start, end, color=color, **style))


def sequence(ax: Axes, start: float, end: float) -> None:
    """A column of tokens enters a transformer as one sequence."""
    top, bottom = PATCH_ROWS[0] + TILE, TEXT_ROWS[-1]
    line(ax, (start, top), (start + 0.9, top), (start + 0.9, bottom), (start, bottom))
    arrow(ax, (start + 0.9, (top + bottom) / 2), (end, (top + bottom) / 2))


def note(ax: Axes, x: float, y: float, text: str, color: str = INK, size: float = 9.5, **place: str) -> None:
    ax.text(x, y, text, fontsize=size, color=color, linespacing=1.35, **({"ha": "center", "va": "center"} | place))


def picture(ax: Axes, images: CaptionedImages, index: int, x: float, cut: bool) -> None:
    """A picture at the height of the patch tokens, cut into patches or whole."""
    side, y = 17.5, 43.45
    pixels = images.image(index).permute(1, 2, 0).numpy()
    ax.imshow(pixels, extent=(x, x + side, y, y + side), interpolation="bilinear", zorder=1)
    lines = 5 if cut else 2
    for at in (side * i / (lines - 1) for i in range(lines)):
        width = 1.4 if at in (0, side) else 0.9
        ax.plot([x + at, x + at], [y, y + side], color=PATCH, linewidth=width, zorder=2)
        ax.plot([x, x + side], [y + at, y + at], color=PATCH, linewidth=width, zorder=2)
    note(ax, x + side / 2, 63.2, "image", PATCH, va="bottom")


def halves(ax: Axes) -> None:
    """The two transformers and the tokens that enter and leave them."""
    columns = {
        28.0: ("solid", "learned", "solid"),
        61.5: ("dropped", "solid", "dropped"),
        99.5: ("learned", "solid", "solid"),
        133.0: ("solid", "dropped", "dropped"),
    }
    for x, kinds in columns.items():
        for rows, color, kind in zip((PATCH_ROWS, LATENT_ROWS, TEXT_ROWS), (PATCH, LATENT, TEXT), kinds):
            tokens(ax, x, rows, color, kind)

    sequence(ax, 32.2, 37.4)
    box(ax, 38, 13.0, 17, 49.5, INK, "tokenizer\n\nViT")
    arrow(ax, (55.6, 34.1), (60.4, 34.1))
    sequence(ax, 103.7, 108.9)
    box(ax, 109.5, 13.0, 17, 49.5, INK, "detokenizer\n\nViT")
    arrow(ax, (127.1, 52.2), (131.9, 52.2))

    for x, words in ((29.5, "patches"), (101, "learned\npatch tokens"), (134.5, "patches")):
        note(ax, x, 63.2, words, PATCH, va="bottom")
    note(ax, 63, 63.2, "dropped", FAINT, va="bottom")
    note(ax, 63, 12.9, "dropped", FAINT, va="top")
    note(ax, 134.5, 12.9, "dropped", FAINT, va="top")
    note(ax, 26.6, 34.1, "learned\nqueries", LATENT, ha="right")
    note(ax, 26.6, 20.0, "text\ntokens", TEXT, ha="right")
    note(ax, 98.1, 20.0, "text\ntokens", TEXT, ha="right")


def text_path(ax: Axes, caption: str) -> None:
    """Caption → frozen encoder → both halves."""
    name, phrase, _ = caption.split(", ", 2)
    note(ax, 4.0, 5.9, f"“{name},\n{phrase}, …”", TEXT, ha="left", style="italic")
    arrow(ax, (19.4, 5.9), (22.4, 5.9), TEXT)
    box(ax, 23, 2.7, 22, 6.4, FROZEN, "frozen text encoder", 9.5)
    arrow(ax, (29.5, 9.4), (29.5, 13.8), TEXT)
    line(ax, (45.4, 5.9), (101.0, 5.9), (101.0, 10.0), color=TEXT)
    arrow(ax, (101.0, 9.4), (101.0, 13.8), TEXT)
    note(ax, 73, 7.0, "the same text tokens", TEXT, va="bottom")


def latents(ax: Axes) -> None:
    """The latent tokens in the middle: stage 1 hands them over, stage 2 makes its own."""
    arrow(ax, (65.9, 34.1), (98.1, 34.1), LATENT)
    note(ax, 82, 32.0, "latent tokens", LATENT, 11.5, va="top", fontweight="bold")
    note(ax, 82, 28.4, "a few, continuous, 1-D", FAINT, va="top")
    box(ax, 73, 47.5, 18, 11.0, LATENT, "DiT", 12)
    arrow(ax, (82, 47.2), (82, 34.9), LATENT)
    note(ax, 83.4, 41.0, "sampled", LATENT, ha="left")
    for x, word in ((77, "class"), (87, "noise")):
        arrow(ax, (x, 64.6), (x, 59.1))
        note(ax, x, 66.4, word)


def figure() -> plt.Figure:
    images = EmojiDataModule().load().train
    index = next(i for i in range(len(images)) if images.key(i) == EMOJI)

    fig = plt.figure(figsize=(WIDTH / 14, HEIGHT / 14))
    ax = fig.add_axes((0, 0, 1, 1))
    # White behind everything, so that the figure is as readable on a dark page.
    rounded(ax, 0.6, 0.6, WIDTH - 1.2, HEIGHT - 1.2, 3, facecolor="white", edgecolor="#d5dae0", zorder=-10)
    note(ax, 4, 71.6, "Stage 1 trains tokenizer and detokenizer together.", size=10.5, ha="left")
    note(ax, 168, 71.6, "Stage 2 freezes both and trains the DiT on the latent tokens.", size=10.5, ha="right")
    picture(ax, images, index, 4, cut=True)
    arrow(ax, (22.2, 52.2), (26.8, 52.2))
    picture(ax, images, index, 150.5, cut=False)
    arrow(ax, (137.2, 52.2), (149.8, 52.2))
    note(ax, 159.25, 41.6, "trained against the\ninput: l2, perceptual,\nadversarial", FAINT, va="top")
    halves(ax)
    text_path(ax, images.captions(index)[0])
    latents(ax)
    ax.set(xlim=(0, WIDTH), ylim=(0, HEIGHT), aspect="equal")
    ax.axis("off")
    return fig


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path(__file__).with_name("figure.png"))
    output = parser.parse_args().output
    figure().savefig(output, dpi=150, transparent=True)
    print(f"{output}: {output.stat().st_size / 1024:.0f} KiB")


if __name__ == "__main__":
    main()

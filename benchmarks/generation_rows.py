"""What benchmarks/generation.py knows of a model, its table and its plot."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

FULL, QUICK = 250, 20
#: FID as published, for the right-hand plot: TexTok's by number of tokens, which are not its best, and DiT's own.
FIDS = {("TexTok", 256, 32): 3.55, ("TexTok", 256, 64): 2.88, ("TexTok", 256, 256): 2.68, ("TexTok", 512, 32): 3.61}
FIDS |= {("DiT-XL/2", 256, 256): 2.27, ("DiT-XL/2", 512, 1024): 3.04}


@dataclass
class Row:
    """What one model costs, an image.

    Args:
        name: TexTok or DiT-XL/2.
        image_size: Side in pixels.
        num_tokens: Tokens of the DiT.
        step_gmac: 10⁹ MACs of one forward of the DiT on one image; a guided step does two.
        decode_gmac: Those of the detokenizer.
        text_gmac: Those of the text encoder, once a prompt.
        step_seconds: A guided step, both branches.
        decode_seconds: The detokenizer.
        text_seconds: The text encoder.
    """

    name: str
    image_size: int
    num_tokens: int
    step_gmac: float = 0.0
    decode_gmac: float = 0.0
    text_gmac: float = 0.0
    step_seconds: float = 0.0
    decode_seconds: float = 0.0
    text_seconds: float = 0.0

    def seconds(self, num_steps: int) -> float:
        """An image of so many steps."""
        return self.text_seconds + num_steps * self.step_seconds + self.decode_seconds

    def gmac(self, num_steps: int) -> float:
        """10⁹ MACs of an image of so many guided steps."""
        return self.text_gmac + 2 * num_steps * self.step_gmac + self.decode_gmac


def table(rows: list[Row]) -> str:
    """What an image costs by the clock."""
    return _table(rows, "seconds", Row.seconds, lambda row: (row.step_seconds, row.decode_seconds, row.text_seconds))


def work_table(rows: list[Row]) -> str:
    """What an image costs by MACs, which no machine changes."""
    return _table(rows, "GMAC", Row.gmac, lambda row: (row.step_gmac, row.decode_gmac, row.text_gmac))


def _table(
    rows: list[Row],
    unit: str,
    whole: Callable[[Row, int], float],
    parts: Callable[[Row], tuple[float, float, float]],
) -> str:
    """A line a model: a step, the detokenizer and the text, then images of either length; ratios are to DiT-XL/2."""
    lines = [f"{unit:<24}{'a step':>9}{'less':>8}{'decode':>9}{'text':>8}"]
    lines[0] += "".join(f"{f'{steps} steps':>13}{'less':>8}{'text':>7}" for steps in (FULL, QUICK))
    for row in rows:
        base = next(each for each in rows if each.name != "TexTok" and each.image_size == row.image_size)
        step, decode, text = parts(row)
        line = f"{f'{row.name} {row.num_tokens}, {row.image_size}²':<24}"
        line += f"{step:>9.4g}{parts(base)[0] / step:>7.1f}x{decode:>9.4g}{text:>8.4g}"
        for steps in (FULL, QUICK):
            cost = whole(row, steps)
            line += f"{f'{cost:,.0f}' if cost >= 100 else f'{cost:.3g}':>13}{whole(base, steps) / cost:>7.1f}x"
            line += f"{text / cost:>7.1%}"
        lines.append(line)
    return "\n".join(lines)


def plot(rows: list[Row], path: Path) -> None:
    """Left: seconds an image over the number of tokens; right: published FID over our seconds, as in figure 4."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4.2), dpi=150, layout="constrained", facecolor="white")
    left, right = figure.subplots(1, 2)
    for size, colour in ((256, "#2b6cb0"), (512, "#c05621")):
        ours = [row for row in rows if row.name == "TexTok" and row.image_size == size]
        (base,) = [row for row in rows if row.name != "TexTok" and row.image_size == size]
        for steps, line, marker in ((FULL, "-", "o"), (QUICK, ":", "s")):
            label = f"TexTok, {size}², {steps} steps"
            xs = [row.num_tokens for row in ours]
            left.plot(xs, [r.seconds(steps) for r in ours], line, color=colour, marker=marker, ms=4, label=label)
            left.plot([base.num_tokens], [base.seconds(steps)], marker, color=colour, mfc="white", ms=8)
        for row in (*ours, base):
            fid = FIDS.get((row.name, row.image_size, row.num_tokens))
            if fid is not None:
                face = colour if row.name == "TexTok" else "white"
                right.plot([row.seconds(FULL)], [fid], "o", color=colour, mfc=face, ms=7)
                right.annotate(
                    f" {row.name} {row.num_tokens}, {size}²",
                    (row.seconds(FULL), fid),
                    fontsize=8,
                    va="bottom" if size == 512 else "top",
                )
    left.set(xscale="log", yscale="log", xlabel="tokens of the DiT (hollow: DiT-XL/2)", ylabel="seconds an image")
    left.set_xticks(sorted({row.num_tokens for row in rows}), sorted({row.num_tokens for row in rows}), minor=False)
    left.minorticks_off()
    left.legend(frameon=False, fontsize=8)
    right.set(xscale="log", xlabel=f"seconds an image, {FULL} steps, measured here", ylabel="FID, as published")
    right.margins(x=0.3, y=0.2)
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(color="#d9dee3", linewidth=0.6)
    figure.savefig(path)

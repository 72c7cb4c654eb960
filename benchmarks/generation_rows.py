"""What benchmarks/generation.py knows of a model, its table and its plot."""

from __future__ import annotations

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

    def text_share(self, num_steps: int) -> float:
        """The text encoder's share of the seconds."""
        return self.text_seconds / self.seconds(num_steps)


def table(rows: list[Row]) -> str:
    """What an image costs by the clock."""
    lines = [f"{'seconds':<24}{'a step':>9}{'decode':>9}{'text':>8}"]
    lines[0] += "".join(f"{f'{steps} steps':>13}{'faster':>8}{'text':>7}" for steps in (FULL, QUICK))
    for row in rows:
        base = next(each for each in rows if each.name != "TexTok" and each.image_size == row.image_size)
        parts = [f"{f'{row.name} {row.num_tokens}, {row.image_size}²':<24}{row.step_seconds:>9.3f}"]
        parts += [f"{row.decode_seconds:>9.3f}{row.text_seconds:>8.3f}"]
        for steps in (FULL, QUICK):
            faster = base.seconds(steps) / row.seconds(steps)
            parts.append(f"{row.seconds(steps):>13.2f}{faster:>7.1f}x{row.text_share(steps):>7.1%}")
        lines.append("".join(parts))
    return "\n".join(lines)


def work_table(rows: list[Row]) -> str:
    """What an image costs by MACs, which no machine changes."""
    lines = [f"{'GMAC':<24}{'a step':>9}{'fewer':>8}{'decode':>9}{'text':>8}"]
    lines[0] += "".join(f"{f'{steps} steps':>13}{'fewer':>8}{'text':>7}" for steps in (FULL, QUICK))
    for row in rows:
        base = next(each for each in rows if each.name != "TexTok" and each.image_size == row.image_size)
        parts = [f"{f'{row.name} {row.num_tokens}, {row.image_size}²':<24}{row.step_gmac:>9.4g}"]
        parts += [f"{base.step_gmac / row.step_gmac:>7.1f}x{row.decode_gmac:>9.1f}{row.text_gmac:>8.1f}"]
        for steps in (FULL, QUICK):
            fewer = base.gmac(steps) / row.gmac(steps)
            parts.append(f"{row.gmac(steps):>13,.0f}{fewer:>7.1f}x{row.text_gmac / row.gmac(steps):>7.1%}")
        lines.append("".join(parts))
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

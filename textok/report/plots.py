"""The plots: one idea a picture, so that a page can put them in three columns or in one."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from textok.report.comparison import TIME, Panel
from textok.report.labels import CAPTIONS, LABELS, axis, split_caption, title
from textok.report.record import TEXT, RunRecord
from textok.storage import atomic_path

if TYPE_CHECKING:
    from matplotlib.axes import Axes

DPI = 200
SIZE = (3.6, 2.6)  # inches
INK, FAINT = "#2b3036", "#d9dee3"
COLOURS = ("#2b6cb0", "#c05621", "#2f855a", "#805ad5", "#b7791f", "#718096", "#b83280", "#2c7a7b")
#: Place of the text → colour and marker.
TEXT_STYLES = dict(zip(TEXT.values(), ((COLOURS[0], "o"), (COLOURS[1], "s"), (COLOURS[2], "^"), (COLOURS[3], "v"))))
#: What a curve is about → its name in the legend, its colour where the plot shows one run, its line.
KINDS = {
    "train": ("training", "#8fb0d3", "-"),
    "val": ("validation", COLOURS[1], "-"),
    "val_own": (CAPTIONS[""], COLOURS[0], "-"),
    "val_empty": (CAPTIONS["_empty"], COLOURS[1], "--"),
    "val_other": (CAPTIONS["_other"], COLOURS[5], ":"),
}
MAX_POINTS = 600  # of a curve; more than its pixels are averaged


def curve_terms(records: Sequence[RunRecord]) -> dict[str, dict[str, dict[str, str]]]:
    """What the curves of some runs are about: term → kind of curve → name of the column.

    ``train/l2`` and ``val/l2`` are one term, and so are ``val/psnr``, ``val/psnr_empty`` and ``val/psnr_other``.
    """
    names = list(dict.fromkeys(name for record in records for name in record.curves))
    terms: dict[str, dict[str, str]] = {}
    for name in names:
        source, _, metric = name.partition("/")
        if source not in ("train", "val") or not metric:  # logged by a component of one's own
            source, metric = "train", name
        base, ending = split_caption(metric) if source == "val" else (metric, "")
        terms.setdefault(base, {})[f"{source}{ending}"] = name
    for kinds in terms.values():
        if "val_empty" in kinds or "val_other" in kinds:
            kinds |= {"val_own": kinds.pop("val")} if "val" in kinds else {}
    return terms


def plot_curves(path: Path, term: str, kinds: dict[str, str], records: Sequence[RunRecord]) -> None:
    """One term over the steps of some runs; runs differ by colour, or the kinds of curve where there is one run."""
    shown = [record for record in records if any(name in record.curves for name in kinds.values())]
    if len(shown) > 1:  # other captions than the own one would make a thicket of several runs
        kinds = {kind: name for kind, name in kinds.items() if kind not in ("val_empty", "val_other")} or kinds
    handles: dict[str, Any] = {}
    with figure(path, title(term)) as axes:
        all_steps: list[float] = []
        everything: list[float] = []
        for number, record in enumerate(shown):
            for kind, name in sorted(kinds.items(), key=lambda item: list(KINDS).index(item[0])):
                if name not in record.curves:
                    continue
                label, colour, line = KINDS[kind]
                steps, values = thinned(*record.curves[name])
                all_steps += steps
                everything += values
                (handle,) = axes.plot(
                    steps,
                    values,
                    line,
                    color=colour if len(shown) == 1 else run_colour(number, len(shown)),
                    alpha=0.5 if kind == "train" and "val" in kinds and len(shown) > 1 else 1,
                    linewidth=1.1 if kind == "train" else 1.5,
                    marker="o" if len(steps) <= 20 else None,
                    markersize=3.5,
                    clip_on=False,
                )
                handles[label if len(shown) == 1 else record.name] = handle
        positive = [value for value in everything if value > 0]
        if len(positive) == len(everything) > 0 and max(positive) > 50 * min(positive):
            axes.set_yscale("log")
        first, last = min(all_steps), max(all_steps)
        # A term that came late, like the discriminator's, has the whole width.
        axes.set_xlim(first if first > last / 2 else 0, max(last, first + 1))
        axes.set_xlabel("step")
        axes.set_ylabel(axis(term))
        axes.xaxis.set_major_locator(_ticker().MaxNLocator(5, integer=True))
        axes.xaxis.set_major_formatter(_ticker().FuncFormatter(lambda step, _: f"{step:,.0f}"))
        if len(handles) > 1:
            add_legend(axes, handles)


def plot_tokens(path: Path, panel: Panel) -> None:
    """Quality against the number of latent tokens, a line a place of the text (the paper's figure 3)."""
    with figure(path, f"{title(panel.metric)}, {panel.setting}") as axes:
        handles = {}
        for text, points in panel.lines.items():
            colour, marker = TEXT_STYLES[text]
            counts = sorted({point.x for point in points})
            # Runs that differ in nothing shown, seeds as a rule, are points around the line of their means.
            groups = [[point.y for point in points if point.x == count] for count in counts]
            means = [sum(group) / len(group) for group in groups]
            (handles[text],) = axes.plot(counts, means, color=colour, marker=marker, markersize=5, linewidth=1.6)
            axes.scatter([p.x for p in points], [p.y for p in points], color=colour, marker=marker, s=9, alpha=0.6)
        axes.set_xscale("log", base=2)
        axes.set_xticks(sorted({point.num_latents for point in panel.points}))
        axes.xaxis.set_major_formatter(_ticker().FuncFormatter(lambda count, _: f"{count:g}"))
        axes.xaxis.set_minor_locator(_ticker().NullLocator())
        axes.set_xlabel("latent tokens an image")
        axes.set_ylabel(f"{axis(panel.metric)}\n{shortened(panel.source, 30)}")
        axes.margins(x=0.08, y=0.12)
        add_legend(axes, handles)


def plot_time(path: Path, panel: Panel) -> None:
    """Quality against sampling time, the number of latent tokens beside each point (the paper's figure 4)."""
    with figure(path, f"{title(panel.metric)}, {panel.setting}") as axes:
        handles = {}
        for text, points in panel.lines.items():
            colour, marker = TEXT_STYLES[text]
            xs, ys = [point.x for point in points], [point.y for point in points]
            (handles[text],) = axes.plot(xs, ys, color=colour, marker=marker, markersize=5, linewidth=1.2)
            # Text improves, so its points lie on the better side: labels away from the other line do not meet it.
            above = (text == "with text") == (LABELS[panel.metric][2] == "higher")
            for point in points:
                axes.annotate(
                    f"{point.num_latents}",
                    (point.x, point.y),
                    xytext=(0, 6 if above else -6),
                    textcoords="offset points",
                    ha="center",
                    va="bottom" if above else "top",
                    fontsize=7.5,
                    color=colour,
                )
        times = [point.x for point in panel.points]
        if max(times) > 4 * min(times) > 0:
            axes.set_xscale("log")
            axes.xaxis.set_major_locator(_ticker().LogLocator(subs=(1, 2, 5)))
            axes.xaxis.set_major_formatter(_ticker().FuncFormatter(lambda seconds, _: f"{seconds:g}"))
            axes.xaxis.set_minor_formatter(_ticker().NullFormatter())
        axes.set_xlabel(f"sampling time ({LABELS[TIME][1]}); number: latent tokens")
        axes.set_ylabel("\n".join(part for part in (axis(panel.metric), panel.source) if part))
        axes.margins(x=0.1, y=0.2)
        add_legend(axes, handles)


class figure:
    """A context with empty axes in the house style; the picture is in its place once the block ends well.

    Args:
        path: The PNG.
        name: What stands above the axes.
    """

    def __init__(self, path: Path, name: str) -> None:
        from matplotlib import rc_context
        from matplotlib.figure import Figure

        self._path, self._name = path, name
        self._style = rc_context({"font.size": 8.5, "axes.edgecolor": FAINT, "text.color": INK, "axes.labelcolor": INK})
        self._figure_class = Figure

    def __enter__(self) -> Axes:
        self._style.__enter__()
        # A Figure of its own, not pyplot's: it draws by Agg on any machine and leaves no state behind.
        self._figure = self._figure_class(figsize=SIZE, dpi=DPI, layout="constrained", facecolor="white")
        axes = self._figure.add_subplot()
        lines = textwrap.wrap(self._name, 44, max_lines=2, placeholder="…")
        name = self._figure.suptitle("\n".join(lines), x=0.012, ha="left", fontsize=10, fontweight="bold")
        name.set_parse_math(False)  # data may be called anything, "$" included
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(axis="y", color=FAINT, linewidth=0.6)
        axes.set_axisbelow(True)
        axes.tick_params(which="both", color=FAINT, labelcolor=INK, length=3)
        return axes

    def __exit__(self, kind: type[BaseException] | None, *rest: Any) -> None:
        try:
            if kind is None:
                with atomic_path(self._path) as temporary:
                    self._figure.savefig(temporary)
        finally:
            self._style.__exit__(kind, *rest)


def add_legend(axes: Axes, handles: dict[str, Any]) -> None:
    """A legend beneath the axes, where it covers no curve; many runs make the picture taller, not the axes smaller."""
    labels = [shortened(label, 40) for label in handles]
    for num_columns, room in ((3, 36), (2, 42), (1, 0)):
        num_rows = -(-len(labels) // num_columns)
        widest = [max(map(len, labels[at : at + num_rows])) for at in range(0, len(labels), num_rows)]
        if sum(widest) <= room:
            break
    drawn = axes.figure
    drawn.set_size_inches(SIZE[0], SIZE[1] + 0.17 * max(0, num_rows - 1))
    # matplotlib leaves out labels that begin with an underscore.
    labels = [f" {label}" if label.startswith("_") else label for label in labels]
    legend = drawn.legend(
        list(handles.values()),
        labels,
        loc="outside lower left",
        ncols=num_columns,
        frameon=False,
        fontsize=8,
        handlelength=1.6,
        columnspacing=1.0,
        borderpad=0.1,
    )
    for text in legend.get_texts():
        text.set_parse_math(False)  # a run may be called anything, "$" included


def shortened(words: str, length: int) -> str:
    """Words that may be longer than their place."""
    return words if len(words) <= length else f"{words[: length - 1]}…"


def run_colour(number: int, count: int) -> Any:
    """A colour a run: of the palette while it lasts, else evenly from a colour map."""
    if count <= len(COLOURS):
        return COLOURS[number]
    from matplotlib import colormaps

    return colormaps["viridis"](0.92 * number / (count - 1))


def thinned(steps: list[int], values: list[float]) -> tuple[list[float], list[float]]:
    """A curve of at most ``MAX_POINTS`` points, each the mean of its neighbourhood."""
    if len(steps) <= MAX_POINTS:
        return list(steps), values
    import numpy as np

    parts = zip(np.array_split(steps, MAX_POINTS), np.array_split(values, MAX_POINTS))
    means = [(float(at.mean()), float(value.mean())) for at, value in parts]
    return [at for at, _ in means], [value for _, value in means]


def _ticker() -> Any:
    from matplotlib import ticker

    return ticker

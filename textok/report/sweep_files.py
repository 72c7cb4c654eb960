"""What people read of a sweep: Markdown, CSV and a plot a metric, beside ``sweep.json``."""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from textok.report.labels import axis, title
from textok.report.plots import COLOURS, add_legend, figure, shortened
from textok.report.sweep import SweepCell, SweepTable, markdown, name_of, numeric
from textok.storage import write_atomic

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MARKERS = "os^vDPX*"


def write_sweep(table: SweepTable, folder: Path) -> list[Path]:
    """Write ``sweep.md``, ``sweep.csv``, ``sweep.json`` and ``METRIC.png`` for each metric that has numbers.

    Returns:
        The files.
    """
    plots = [path for metric in table.metrics if (path := write_plot(table, metric, folder)) is not None]
    write_atomic(folder / "sweep.md", as_markdown(table, plots))
    write_atomic(folder / "sweep.csv", as_csv(table))
    return [folder / "sweep.md", folder / "sweep.csv", table.write(folder), *plots]


def as_markdown(table: SweepTable, plots: Sequence[Path] = ()) -> str:
    """The table, the changes against the baseline, the notes and the plots."""
    parts = [f"# {table.title}", f"    {table.command}", markdown(*table.rows(), num_words=len(table.axes))]
    deviation = "mean ± standard deviation over seeds (of a sample)"
    parts.append(f"{deviation}; one seed has none." if table.num_seeds == 1 else f"{deviation}.")
    for change in table.changes():
        parts.append(f"## Change: {change.of}, against {change.against}")
        parts.append(markdown(*change.rows(table.axis(table.x).title)))
    parts += [f"- {note}" for note in table.notes]
    parts += [f"![{title(name_of(plot.stem))}]({plot.name})" for plot in plots]
    return "\n\n".join(parts) + "\n"


def as_csv(table: SweepTable) -> str:
    """A row a cell: its values, for each metric mean, deviation and number of seeds."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    names = [axis.name for axis in table.axes]
    writer.writerow([*names, *(f"{metric}_{what}" for metric in table.metrics for what in ("mean", "std", "seeds"))])
    for cell in table.cells:
        row: list[object] = [cell.values[name] for name in names]
        for metric in table.metrics:
            count = len(cell.numbers.get(metric, []))
            row += [blank(cell.mean(metric)), blank(cell.deviation(metric)), count]
        writer.writerow(row)
    return file.getvalue()


def blank(value: float | None) -> object:
    return "" if value is None else repr(value)


def write_plot(table: SweepTable, metric: str, folder: Path) -> Path | None:
    """One metric along x, a line a series: means with their deviation, and each seed as a point.

    Returns:
        The PNG; None where nothing was measured.
    """
    lines = lines_of(table, metric)
    if not lines:
        return None
    path = folder / f"{re.sub(r'[^A-Za-z0-9]+', '_', metric)}.png"
    x_axis = table.axis(table.x)
    numbers = numeric(list(x_axis.values))
    places = dict(zip(x_axis.values, numbers if numbers else map(float, range(len(x_axis.values)))))
    with figure(path, table.title) as axes:
        handles = {}
        for number, (words, cells) in enumerate(lines.items()):
            colour, marker = COLOURS[number % len(COLOURS)], MARKERS[number % len(MARKERS)]
            cells = sorted(cells, key=lambda cell: places[cell.values[table.x]])
            xs = [places[cell.values[table.x]] for cell in cells]
            means = [cell.mean(metric) for cell in cells]
            errors = [cell.deviation(metric) or 0.0 for cell in cells]
            handles[words] = axes.errorbar(
                xs,
                means,
                errors,
                color=colour,
                marker=marker,
                markersize=5,
                linewidth=1.6,
                linestyle="-" if numbers else "none",  # names have no order that a line could follow
                elinewidth=1.0,
                capsize=2.5,
            )
            points = [(x, value) for x, cell in zip(xs, cells) for value in cell.numbers[metric]]
            axes.scatter(*zip(*points), color=colour, marker=marker, s=9, alpha=0.5)
        ticks(axes, places, x_axis.values, numbers)
        axes.set_xlabel(x_axis.title)
        name, words = title(name_of(metric)), axis(name_of(metric))
        axes.set_ylabel(words if words.startswith(name) else f"{name}\n{words}")
        axes.margins(x=0.08 if numbers else 0.15, y=0.12)
        if len(handles) > 1 or table.series is not None:
            add_legend(axes, handles)
    return path


def lines_of(table: SweepTable, metric: str) -> dict[str, list[SweepCell]]:
    """The cells that have numbers, by the values of all axes but x; the series comes first in the words."""
    others = sorted((axis for axis in table.axes if axis.name != table.x), key=lambda axis: axis.name != table.series)
    lines: dict[str, list[SweepCell]] = {}
    for cell in table.cells:
        if cell.mean(metric) is not None:
            words = ", ".join(axis.values[cell.values[axis.name]] for axis in others)
            lines.setdefault(words, []).append(cell)
    return lines


def ticks(axes: Axes, places: dict[str, float], words: dict[str, str], numbers: list[float] | None) -> None:
    """A tick for each value; powers of two, as token counts are, evenly spaced."""
    from matplotlib import ticker

    if numbers and len(numbers) > 1 and all(value > 0 and math.log2(value).is_integer() for value in numbers):
        axes.set_xscale("log", base=2)
    axes.set_xticks(list(places.values()))
    axes.xaxis.set_minor_locator(ticker.NullLocator())
    labels = [shortened(words[name], 22) for name in places]
    crowded = sum(map(len, labels)) > 44
    axes.set_xticklabels(labels, rotation=25 if crowded else 0, ha="right" if crowded else "center")
    for label in axes.get_xticklabels():
        label.set_parse_math(False)  # a value may be called anything, "$" included

"""The table of a sweep: mean and deviation over seeds, and how far a series is from the baseline.

It is kept as ``sweep.json`` beside its Markdown, CSV and plots, so that a report needs nothing else.
"""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from textok.report.labels import LABELS, decimals
from textok.report.tables import heading
from textok.storage import write_json

DASH = "\u2013"
MINUS = "\u2212"


@dataclass(frozen=True)
class SweepAxis:
    """One respect in which the cells differ.

    Args:
        name: Its key.
        title: What people call it.
        values: Name of a value → what people call it, in order.
    """

    name: str
    title: str
    values: dict[str, str]


@dataclass(frozen=True)
class SweepCell:
    """What was measured of one combination of values.

    Args:
        values: Axis → value.
        numbers: Metric → one number a seed that has been measured.
        num_finished: Seeds that have ended.
    """

    values: dict[str, str]
    numbers: dict[str, list[float]]
    num_finished: int

    def mean(self, metric: str) -> float | None:
        found = self.numbers.get(metric)
        return statistics.fmean(found) if found else None

    def deviation(self, metric: str) -> float | None:
        """The standard deviation over seeds, of a sample (n − 1); None for fewer than two."""
        found = self.numbers.get(metric, [])
        return statistics.stdev(found) if len(found) > 1 else None


@dataclass(frozen=True)
class SweepTable:
    """Everything that a sweep measured.

    Args:
        title: What it is.
        command: The command line that makes it.
        axes: In what its cells differ.
        metrics: What was measured.
        cells: The cells.
        num_seeds: Seeds that each cell is to have.
        x: The axis along which plots run.
        series: The axis whose values are the lines of a plot.
        baseline: The value of ``series`` that others are compared with.
        notes: What to know about the numbers.
    """

    title: str
    command: str
    axes: list[SweepAxis]
    metrics: list[str]
    cells: list[SweepCell]
    num_seeds: int
    x: str
    series: str | None = None
    baseline: str | None = None
    notes: list[str] = field(default_factory=list)

    def axis(self, name: str) -> SweepAxis:
        return next(axis for axis in self.axes if axis.name == name)

    def rows(self) -> tuple[list[str], list[list[str]]]:
        """The head, and a row a cell that has ended with any seed."""
        head = [axis.title for axis in self.axes] + [heading(name_of(metric)) for metric in self.metrics] + ["Seeds"]
        places = {metric: self.places(metric) for metric in self.metrics}
        rows = []
        for cell in self.cells:
            row = [axis.values[cell.values[axis.name]] for axis in self.axes]
            row += [plus_minus(cell.mean(m), cell.deviation(m), places[m]) for m in self.metrics]
            count = str(cell.num_finished)
            rows.append([*row, count if cell.num_finished == self.num_seeds else f"{count} of {self.num_seeds}"])
        return head, rows

    def places(self, metric: str) -> int:
        return decimals([mean for cell in self.cells if (mean := cell.mean(metric)) is not None])

    def changes(self) -> list[Change]:
        """How far each series is from the baseline, a block for each combination of the remaining axes."""
        if self.series is None or self.baseline is None:
            return []
        blocks: dict[str, dict[str, dict[str, float | None]]] = {}
        others = [axis for axis in self.axes if axis.name not in (self.x, self.series)]
        for cell in self.cells:
            if cell.values[self.series] == self.baseline:
                continue
            twin = self._find(cell.values | {self.series: self.baseline})
            words = ", ".join(axis.values[cell.values[axis.name]] for axis in [self.axis(self.series), *others])
            x = self.axis(self.x).values[cell.values[self.x]]
            blocks.setdefault(words, {})[x] = {
                metric: relative_change(cell.mean(metric), twin.mean(metric)) for metric in self.metrics
            }
        against = self.axis(self.series).values[self.baseline]
        return [Change(words, against, found, self.metrics) for words, found in blocks.items()]

    def _find(self, values: dict[str, str]) -> SweepCell:
        return next(cell for cell in self.cells if cell.values == values)

    def write(self, folder: Path) -> Path:
        """Write ``sweep.json``, from which ``read_table`` reads it."""
        write_json(folder / "sweep.json", asdict(self))
        return folder / "sweep.json"


@dataclass(frozen=True)
class Change:
    """The relative change of one series against the baseline.

    Args:
        of: The series.
        against: The baseline.
        at: x → metric → change as a fraction, None where it cannot be told.
        metrics: What was measured.
    """

    of: str
    against: str
    at: dict[str, dict[str, float | None]]
    metrics: list[str]

    def average(self, metric: str) -> float | None:
        """The mean of the changes over x, as the paper averages them (abstract: rFID −29.2 % at 256²)."""
        found = [change[metric] for change in self.at.values() if change[metric] is not None]
        return statistics.fmean(found) if found else None

    def rows(self, x: str) -> tuple[list[str], list[list[str]]]:
        """The head and the rows of a table, the average last.

        Args:
            x: What stands above the first column.
        """
        head = [x, *(heading(name_of(metric)) for metric in self.metrics)]
        rows = [[at, *(percent(change[m], m) for m in self.metrics)] for at, change in self.at.items()]
        return head, [*rows, ["average", *(percent(self.average(m), m) for m in self.metrics)]]


def relative_change(value: float | None, baseline: float | None) -> float | None:
    """(value − baseline) / baseline; None where the baseline is not positive, as an unbiased kernel distance may be."""
    if value is None or baseline is None or baseline <= 0:
        return None
    return (value - baseline) / baseline


def name_of(metric: str) -> str:
    """``val/psnr`` → ``psnr``."""
    return metric.rpartition("/")[2]


def percent(change: float | None, metric: str) -> str:
    """A change with its sign, and whether it is for the worse."""
    if change is None:
        return DASH
    better = LABELS.get(name_of(metric), ("", "", ""))[2]
    worse = (better == "lower" and change > 0) or (better == "higher" and change < 0)
    return f"{'+' if change > 0 else MINUS if change < 0 else ''}{abs(100 * change):.1f} %{' (worse)' if worse else ''}"


def plus_minus(mean: float | None, deviation: float | None, places: int) -> str:
    if mean is None:
        return DASH
    number = f"{mean:.{places}f}".replace("-", MINUS)
    return number if deviation is None else f"{number} ± {deviation:.{places}f}"


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]], num_words: int = 1) -> str:
    """A table in Markdown; all but the first columns are numbers."""
    line = ["---"] * num_words + ["---:"] * (len(head) - num_words)
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in (head, line, *rows))


def read_table(path: Path) -> SweepTable:
    """Read ``sweep.json``.

    Raises:
        ValueError: If it is damaged.
    """
    try:
        found = json.loads(path.read_text())
        axes = [SweepAxis(**axis) for axis in found.pop("axes")]
        cells = [SweepCell(**cell) for cell in found.pop("cells")]
        return SweepTable(axes=axes, cells=cells, **found)
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(f"{path} is no table of a sweep ({error}): `textok sweep` writes it again") from error


def numeric(values: Sequence[str]) -> list[float] | None:
    """Values as finite numbers, or None where one is none."""
    try:
        found = [float(value) for value in values]
    except ValueError:
        return None
    return found if all(map(math.isfinite, found)) else None

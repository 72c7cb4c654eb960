"""From the results of a sweep's runs to its table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from textok.report.sweep import SweepAxis, SweepCell, SweepTable
from textok.runs.sweep_plan import Cell, SweepPlan
from textok.runs.sweep_results import SweepResults


def gather(plan: SweepPlan, results: SweepResults, command: str, notes: Sequence[str] = ()) -> SweepTable:
    """The table of everything that is finished."""
    sweep, notes = plan.sweep, list(notes)
    axes = [
        SweepAxis(axis.name, axis.title or axis.name, {each.name: each.title or each.name for each in axis.choices()})
        for axis in sweep.axes
    ]
    found: dict[tuple[str, ...], list[Cell]] = {}
    for cell in plan.cells:
        found.setdefault(tuple(cell.values.values()), []).append(cell)
    cells = []
    for seeds in found.values():
        measured = [numbers for cell in seeds if (numbers := results.numbers(cell)) is not None]
        numbers: dict[str, list[float]] = {}
        for metric in sweep.metrics:
            there = [each[metric] for each in measured if each.get(metric) is not None]
            if len(there) < len(measured):
                notes.append(
                    f"{metric} of {seeds[0].name} and its like: only {len(there)} of {len(measured)} seeds gave one"
                )
            numbers[metric] = there
        cells.append(SweepCell(dict(seeds[0].values), numbers, len(measured)))
    made = Counter(results.read(run)["sweep"] for run in plan.runs() if results.has(run))
    notes += [f"runs made by the sweep {name}: {count}" for name, count in made.items() if name != plan.name]
    return SweepTable(
        sweep.title, command, axes, sweep.metrics, cells, len(sweep.seeds), sweep.x, sweep.series, sweep.baseline, notes
    )

"""From a sweep file to the cells and runs that it asks for.

A run of stage 1 is named by the axes that touch stage 1, so that cells which differ in stage 2 alone share it.
"""

from __future__ import annotations

import argparse
import itertools
import json
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from textok.runs.evaluation_options import evaluation_parser, measured_names
from textok.runs.folder import RunFolder
from textok.runs.load import parsed_run
from textok.runs.messages import explain, nearest
from textok.runs.sweep import Axis, Config, Overlay, check_unique, find_config, read_sweep
from textok.runs.sweep_run import SweepRun


@dataclass(frozen=True)
class Cell:
    """One combination of the axes' values with one seed: a run, or a run of each stage.

    Args:
        name: ``32_text_seed0``.
        values: Axis → name of its value.
        seed: The seed.
        runs: Its runs in the order in which they train; the last one is its own, others may be shared.
    """

    name: str
    values: dict[str, str]
    seed: int
    runs: tuple[SweepRun, ...]


class SweepPlan:
    """The cells of a sweep file.

    Args:
        path: The sweep file.
        run: In place of the finished run that the file names.

    Raises:
        ValueError: If the file is none, or names a file that is not there.
    """

    def __init__(self, path: str | Path, run: str | None = None) -> None:
        self.path = Path(path)
        self.name = self.path.stem
        self.sweep = read_sweep(path)
        if run is not None and self.sweep.run is None:
            raise ValueError(f"{path} trains its runs: it takes no finished one ({run})")
        self.source = None if self.sweep.run is None else Path(run or self.sweep.run)
        if self.source is not None:
            RunFolder(self.source).newest_checkpoint()
        choices = [axis.choices() for axis in self.sweep.axes]
        self.cells = [
            self._cell(combination, seed) for combination in itertools.product(*choices) for seed in self.sweep.seeds
        ]
        check_unique(f"{path}: cell", [cell.name for cell in self.cells])
        for run in self.runs():
            for config in (*run.configs, *(run.evaluate or ())):
                if isinstance(config, str):
                    find_config(config, self.path.parent)

    def runs(self, cells: Sequence[Cell] | None = None) -> list[SweepRun]:
        """The runs of some cells, or of all, each once and behind those that it needs."""
        found = {run.name: run for cell in (self.cells if cells is None else cells) for run in cell.runs}
        return list(found.values())

    def select(self, pattern: str) -> list[Cell]:
        """The cells whose names match a pattern such as ``32_*``.

        Raises:
            ValueError: If there is none.
        """
        found = [cell for cell in self.cells if fnmatchcase(cell.name, pattern)]
        if not found:
            names = [cell.name for cell in self.cells]
            raise ValueError(f"{self.path} has no cell {pattern!r}{nearest(pattern, names)}: see --dry-run for them")
        return found

    def check(self, cells: Sequence[Cell]) -> None:
        """Parse the configuration of every run, so that a mistake shows now and not in an hour.

        Raises:
            ValueError: With the run, the key and the reason.
        """
        from textok.runs.parser import TextokCLI

        self._check_metrics()
        seen: set[str] = set()
        for run in self.runs(cells):
            configs = json.dumps(run.configs)
            if configs in seen:  # another seed of it
                continue
            seen.add(configs)
            try:
                if run.source is None:
                    TextokCLI(run.parsed_arguments(Path("output")), run=False)
                else:
                    parsed_run(run.source, run.overlays_found())
            except (argparse.ArgumentError, ValueError) as error:
                raise ValueError(f"{self.path}: run {run.name}: {explain(str(error))}") from error

    def _check_metrics(self) -> None:
        """Whether the evaluations will give every number of the table."""
        known = {"training_seconds"}
        for run in self.cells[0].runs:
            if run.evaluate is not None:
                parser = evaluation_parser()
                try:
                    options = parser.parse_args(run.evaluate_command(Path("output"))[1:])
                    known |= measured_names(parser.instantiate_classes(options))
                except (argparse.ArgumentError, ValueError) as error:
                    raise ValueError(f"{self.path}: evaluate of {run.name}: {explain(str(error))}") from error
        for name in self.sweep.metrics:
            if name not in known and not name.startswith(("val/", "test/")):
                raise ValueError(f"{self.path}: no evaluation gives {name!r}{nearest(name, known)}")

    def _cell(self, combination: Sequence[Overlay], seed: int) -> Cell:
        chosen = {axis.name: overlay for axis, overlay in zip(self.sweep.axes, combination)}
        values = {axis: overlay.name for axis, overlay in chosen.items()}
        name = "_".join([*values.values(), f"seed{seed}"])
        if self.sweep.second_stage is None:
            return Cell(name, values, seed, (self._first(name, chosen, seed),))
        shared = {axis.name: chosen[axis.name] for axis in self.sweep.axes if touches_first_stage(axis)}
        first = "_".join([*(overlay.name for overlay in shared.values()), f"seed{seed}", "tokenizer"])
        tokenizer = self._first(first, shared, seed)
        return Cell(name, values, seed, (tokenizer, self._second(f"{name}_generator", chosen, seed, tokenizer)))

    def _first(self, name: str, chosen: dict[str, Overlay], seed: int) -> SweepRun:
        overlays = [config for overlay in chosen.values() for config in (*overlay.configs, *overlay.first_stage)]
        return self._run(name, chosen, seed, self.sweep.configs, overlays, self.sweep.evaluate, source=self.source)

    def _second(self, name: str, chosen: dict[str, Overlay], seed: int, tokenizer: SweepRun) -> SweepRun:
        overlays = [config for overlay in chosen.values() for config in (*overlay.configs, *overlay.second_stage)]
        stage = self.sweep.second_stage
        return self._run(name, chosen, seed, stage.configs, overlays, stage.evaluate, parent=tokenizer)

    def _run(
        self,
        name: str,
        chosen: dict[str, Overlay],
        seed: int,
        configs: list[Config],
        overlays: list[Config],
        evaluate: list[Config] | None,
        parent: SweepRun | None = None,
        source: Path | None = None,
    ) -> SweepRun:
        return SweepRun(
            name,
            {axis: overlay.name for axis, overlay in chosen.items()},
            seed,
            (*configs, *overlays),
            None if evaluate is None else tuple(evaluate),
            self.path.parent,
            tuple(overlays),
            parent,
            source,
        )


def touches_first_stage(axis: Axis) -> bool:
    return any(choice.configs or choice.first_stage for choice in axis.choices())

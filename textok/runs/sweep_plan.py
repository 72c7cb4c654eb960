"""From a sweep file to the runs it asks for: their names, configurations and command lines.

A run of stage 1 is named by the axes that touch stage 1, so that cells which differ in stage 2 alone share it.
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import json
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import yaml

from textok.runs.evaluation_options import evaluation_parser, measured_names
from textok.runs.folder import RunFolder
from textok.runs.load import parsed_run
from textok.runs.messages import explain, nearest
from textok.runs.sweep import Axis, Config, Overlay, check_unique, find_config, read_sweep


@dataclass(frozen=True)
class SweepRun:
    """One training run of a sweep with its evaluation, or one evaluation of a finished run.

    Args:
        name: Its folder's name.
        values: Axis → name of its value, of the axes that touch it.
        seed: Its seed.
        configs: Its configurations as the sweep file names them, overlays last.
        evaluate: Options of ``textok evaluate``, or None.
        folder: That of the sweep file, from which its files are named.
        overlays: What of ``configs`` is not shared by all runs.
        parent: The run of stage 1 on whose latents it trains.
        source: The finished run that is only evaluated.
    """

    name: str
    values: dict[str, str]
    seed: int
    configs: tuple[Config, ...]
    evaluate: tuple[Config, ...] | None
    folder: Path
    overlays: tuple[Config, ...] = ()
    parent: SweepRun | None = None
    source: Path | None = None

    def path(self, output: Path) -> Path:
        """Its run folder, or where the evaluation of a finished run goes."""
        return output / self.name

    def evaluation_file(self, output: Path) -> Path:
        return self.path(output) / "evaluation" / "sweep.json"

    def fit_command(self, output: Path) -> list[str] | None:
        """The command line after ``textok`` that trains it; None for a run that is only evaluated."""
        if self.source is not None:
            return None
        return ["fit", *self.parsed_arguments(output), "--run", str(self.path(output))]

    def parsed_arguments(self, output: Path) -> list[str]:
        arguments = [part for config in self.configs for part in ("--config", self._argument(config))]
        arguments += ["--seed_everything", str(self.seed)]
        if self.parent is not None:
            arguments += ["--model.init_args.tokenizer_checkpoint", str(self.parent.path(output))]
        return arguments

    def evaluate_command(self, output: Path) -> list[str] | None:
        """The command line after ``textok`` that measures it, or None."""
        if self.evaluate is None:
            return None
        command = ["evaluate", str(self.path(output) if self.source is None else self.source)]
        command += [part for options in self.evaluate for part in ("--config", self._argument(options))]
        if self.source is not None:
            command += ["--overlays", json.dumps(self.overlays_found()), "--seed", str(self.seed)]
        return [*command, "--output", str(self.evaluation_file(output))]

    def overlays_found(self) -> list[Config]:
        """Its overlays, files by their paths."""
        return [c if isinstance(c, dict) else str(find_config(c, self.folder)) for c in self.overlays]

    def recipe(self) -> dict[str, Any]:
        """All that the result depends on and the sweep decides, files by the digest of what they say."""
        recipe = {"configs": self._digests(self.configs), "seed": self.seed}
        if self.evaluate is not None:
            recipe["evaluate"] = self._digests(self.evaluate)
        if self.parent is not None:
            recipe["tokenizer"] = {"run": self.parent.name, "recipe": digest(self.parent.recipe())}
        if self.source is not None:
            recipe["run"] = f"{self.source.name}, {RunFolder(self.source).newest_checkpoint().name}"
        return recipe

    def differences(self) -> dict[str, Any]:
        """Dotted key → value of everything that its overlays say."""
        found: dict[str, Any] = {}
        for config in self.overlays:
            found |= flattened(config if isinstance(config, dict) else _load(find_config(config, self.folder)))
        return found

    def _argument(self, config: Config) -> str:
        return json.dumps(config) if isinstance(config, dict) else str(find_config(config, self.folder))

    def _digests(self, configs: Sequence[Config]) -> dict[str, Any]:
        told: dict[str, Any] = {}
        for config in configs:
            told |= (
                flattened(config)
                if isinstance(config, dict)
                else {config: digest(_load(find_config(config, self.folder)))}
            )
        return told


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


def flattened(config: dict[str, Any], at: str = "") -> dict[str, Any]:
    """{a: {b: value}} → {"a.b": value}."""
    found: dict[str, Any] = {}
    for key, value in config.items():
        name = f"{at}.{key}" if at else str(key)
        found |= flattened(value, name) if isinstance(value, dict) and value else {name: value}
    return found


def digest(content: Any) -> str:
    """Twelve hexadecimal digits that stand for some content."""
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()[:12]


def _load(path: Path) -> dict[str, Any]:
    return yaml.safe_load(path.read_text()) or {}

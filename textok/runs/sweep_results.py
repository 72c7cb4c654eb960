"""The results of a sweep's runs: a small file each, which is all that the table needs and may be committed."""

from __future__ import annotations

import json
import warnings
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from textok.callbacks.results import ResultsWriter
from textok.modules.weights import checkpoint_step, checkpoints_of
from textok.runs.folder import compare_configs
from textok.runs.sweep_plan import Cell
from textok.runs.sweep_run import SweepRun
from textok.storage import write_json


class SweepResults:
    """The folder of results: ``runs/NAME.json`` for each run that has ended.

    Args:
        folder: Where they are or shall be.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)

    def file(self, run: SweepRun) -> Path:
        return self.folder / "runs" / f"{run.name}.json"

    def has(self, run: SweepRun) -> bool:
        return self.file(run).is_file()

    def read(self, run: SweepRun) -> dict[str, Any]:
        """A run's results.

        Raises:
            ValueError: If the file is damaged.
        """
        try:
            return _record(self.file(run))
        except ValueError as error:
            raise ValueError(f"{self.file(run)} is damaged ({error}): take it away to run {run.name} again") from error

    def changed(self, runs: Sequence[SweepRun]) -> dict[str, list[str]]:
        """Runs whose results come of another recipe than the sweep file's, each with what differs."""
        found = {}
        for run in runs:
            if self.has(run):
                old, new = self.read(run)["recipe"], json.loads(json.dumps(run.recipe()))
                lines = compare_configs(old, new)
                if not lines and json.dumps(old) != json.dumps(new):
                    lines = ["the configurations are the same in another order"]
                if lines:
                    found[run.name] = lines
        return found

    def numbers(self, cell: Cell) -> dict[str, float | None] | None:
        """All numbers of a cell, those of its last stage first; None before it has ended."""
        if not all(self.has(run) for run in cell.runs):
            return None
        numbers: dict[str, float | None] = {}
        for run in cell.runs:
            record = self.read(run)
            numbers |= record["metrics"] | {"training_seconds": record["seconds"]["training"]}
        return numbers

    def seconds(self, run: SweepRun) -> float:
        """How long a finished run took with its evaluation."""
        return sum(self.read(run)["seconds"].values())

    def has_weights(self, run: SweepRun, output: Path) -> bool:
        """Whether the last checkpoint of a finished run is there, for a second stage to read."""
        found = checkpoints_of(run.path(output))
        return bool(found) and checkpoint_step(found[-1]) == self.read(run)["step"]

    def write(self, run: SweepRun, sweep: str, output: Path, evaluation_seconds: float) -> Path:
        """Gather what a run that has ended left in its folder.

        Args:
            run: The run.
            sweep: The sweep's name.
            output: Folder of the run folders.
            evaluation_seconds: How long its evaluation took.
        """
        trained = _read(run.path(output) / ResultsWriter.FILE) if run.source is None else {}
        measured = _read(run.evaluation_file(output)) if run.evaluate is not None else {}
        record = self._told(run) | {
            "sweep": sweep,
            "metrics": {**trained.get("metrics", {}), **measured.get("metrics", {})},
            "warnings": measured.get("warnings", []),
            "step": trained.get("step"),
            "images_seen": trained.get("images_seen"),
            "seconds": {
                "training": trained.get("training_seconds", 0.0),
                "evaluation": round(evaluation_seconds, 3),
            },
            "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            "conventions": measured.get("conventions", trained.get("conventions", {})),
            "versions": trained.get("versions", {}),
        }
        write_json(self.file(run), record)
        return self.file(run)

    def take_over(self, run: SweepRun, file: Path) -> None:
        """Make the results that an equal run left in a file this run's."""
        write_json(self.file(run), _record(file) | self._told(run))

    def _told(self, run: SweepRun) -> dict[str, Any]:
        """What a record says of its run before anything is measured."""
        return {
            "run": run.name,
            "values": run.values,
            "seed": run.seed,
            "differences": run.differences(),
            "recipe": run.recipe(),
            "fingerprint": run.fingerprint,
        }


def files_by_fingerprint(folders: Sequence[Path]) -> dict[str, Path]:
    """Fingerprint of a run → the file of its results, in folders of results or folders of such folders.

    The first one counts; what is no result of a run is passed over with a warning.
    """
    found: dict[str, Path] = {}
    for folder in folders:
        for file in sorted(Path(folder).rglob("runs/*.json")):
            try:
                fingerprint = _record(file).get("fingerprint")
            except ValueError as error:
                warnings.warn(f"{file} is passed over: {error}", stacklevel=2)
                continue
            if fingerprint is not None:
                found.setdefault(fingerprint, file)
    return found


def _record(file: Path) -> dict[str, Any]:
    """What a file says of a run.

    Raises:
        ValueError: If that is not what ``SweepResults.write`` writes.
    """
    record = json.loads(file.read_text())
    if not isinstance(record, dict):
        raise ValueError(f"it holds no record, but {type(record).__name__}")
    missing = {"metrics", "recipe", "seconds", "step", "sweep"} - record.keys()
    if missing:
        raise ValueError(f"it lacks {', '.join(sorted(missing))}")
    return record


def _read(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise ValueError(f"{path} is missing: the run ended without writing its numbers")
    return json.loads(path.read_text())

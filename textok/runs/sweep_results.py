"""The results of a sweep's runs: a small file each, which is all that the table needs and may be committed."""

from __future__ import annotations

import json
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
            record = json.loads(self.file(run).read_text())
            missing = {"metrics", "recipe", "seconds", "step"} - record.keys()
            if missing:
                raise ValueError(f"it lacks {', '.join(sorted(missing))}")
        except (ValueError, AttributeError) as error:
            raise ValueError(f"{self.file(run)} is damaged ({error}): take it away to run {run.name} again") from error
        return record

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

    def take_over(self, run: SweepRun, others: Sequence[Path]) -> Path | None:
        """Make the results of an equal run of another sweep this run's.

        Args:
            run: The run.
            others: Folders of results, or folders of such folders; the first one that has it is taken.

        Returns:
            The file that holds them there; None if there is none.
        """
        if run.fingerprint is None:
            return None
        for folder in others:
            for file in sorted(Path(folder).rglob("runs/*.json")):
                record = _read(file)
                if record.get("fingerprint") == run.fingerprint and file.resolve() != self.file(run).resolve():
                    write_json(self.file(run), record | self._told(run))
                    return file
        return None

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


def _read(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise ValueError(f"{path} is missing: the run ended without writing its numbers")
    return json.loads(path.read_text())

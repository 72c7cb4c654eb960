"""All curves of a run in one CSV file that survives being interrupted.

Lightning's own CSV logger deletes the file of a resumed run; this one goes on with it: rows from the resumed step on
are dropped and written again, so there are neither gaps nor doubled rows.
"""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.loggers.logger import Logger
from lightning.pytorch.utilities import rank_zero_only

from textok.storage import write_atomic


class CurveLogger(Logger):
    """Writes one row a logged step, one column a name.

    Args:
        file: The CSV file.
        from_step: Rows after this step are dropped first: the step of the checkpoint a run goes on from.
    """

    def __init__(self, file: str | Path, from_step: int | None = None) -> None:
        super().__init__()
        self.file = Path(file)
        self._from_step = from_step
        self._columns: list[str] | None = None

    @property
    def name(self) -> str:
        return self.file.stem

    @property
    def version(self) -> str:
        return ""

    @rank_zero_only
    def log_hyperparams(self, *args: Any, **kwargs: Any) -> None:
        """The run's config.yaml is the record."""

    @rank_zero_only
    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        row = {"step": str(step), **{name: repr(float(value)) for name, value in metrics.items()}}
        if self._columns is None:
            self._open()
        missing = [name for name in row if name not in self._columns]
        if missing:
            self._rewrite(read_curves(self.file), self._columns + missing)
        with self.file.open("a", newline="") as file:
            csv.DictWriter(file, self._columns).writerow(row)

    def _open(self) -> None:
        rows = read_curves(self.file)
        if self._from_step is None:
            rows = []
        columns = list(rows[0]) if rows else ["step"]
        self._rewrite([row for row in rows if int(row["step"]) <= self._from_step], columns)

    def _rewrite(self, rows: list[dict[str, str]], columns: list[str]) -> None:
        text = io.StringIO()
        writer = csv.DictWriter(text, columns, restval="")
        writer.writeheader()
        writer.writerows(rows)
        write_atomic(self.file, text.getvalue())
        self._columns = columns


class TensorBoardCurves(TensorBoardLogger):
    """TensorBoard's, handed to the operating system row by row: a killed run has all before its last checkpoint."""

    @rank_zero_only
    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        super().log_metrics(metrics, step)
        self.experiment.flush()


def read_curves(file: Path) -> list[dict[str, str]]:
    """The rows of a curve file as text, oldest first; a half-written last line is left out."""
    if not file.exists():
        return []
    with file.open(newline="") as lines:
        return [row for row in csv.DictReader(lines) if None not in row.values() and None not in row]

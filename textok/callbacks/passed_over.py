"""The record of batches that a run passes over, and of the checkpoints it does not go back to."""

from __future__ import annotations

import json
import re
from pathlib import Path

from textok.storage import write_json


class PassedOver:
    """Jumps in a run's data: at a step, so many batches of each rank are passed over.

    The file holds all jumps; ``taken`` says which of them lie behind, and belongs into a checkpoint. A start from any
    older checkpoint then takes the later ones again, each at its step.
    """

    FILE = "passed_over.json"

    def __init__(self) -> None:
        #: Numbers of the jumps that were taken, in the file's order.
        self.taken: list[int] = []
        self._jumps: list[dict[str, int]] = []

    def read(self, folder: Path) -> None:
        """Read the jumps of a run folder; there are none where it has no file."""
        file = folder / self.FILE
        self._jumps = json.loads(file.read_text()) if file.exists() else []

    def take(self, step: int) -> int:
        """Batches to pass over before the next step, when ``step`` steps are done."""
        due = [i for i, jump in enumerate(self._jumps) if jump["step"] == step and i not in self.taken]
        self.taken += due
        return sum(self._jumps[i]["batches"] for i in due)

    def add(self, step: int, batches: int, folder: Path) -> None:
        """Record a jump for the next start of the run."""
        write_json(folder / self.FILE, [*self._jumps, {"step": step, "batches": batches}])


def set_aside(checkpoints: Path, step: int) -> int:
    """Rename the checkpoints of after a step, so that no start takes them.

    Returns:
        The step of the newest that remains, 0 where none does: a start then begins anew.
    """
    found = {file: re.search(r"step(\d+)", file.name) for file in checkpoints.glob("*.ckpt")}
    steps = {file: int(match[1]) for file, match in found.items() if match}
    for file in [file for file, of in steps.items() if of > step]:
        file.rename(file.with_name(f"{file.name}.diverged"))
    return max((of for of in steps.values() if of <= step), default=0)

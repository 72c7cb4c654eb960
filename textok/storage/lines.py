"""A file of JSON lines that grows line by line and survives being cut off in the middle of one."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any


class JsonLines:
    """Lines that are on the disk once ``append`` returns; what a kill left half-written is cut off at the opening.

    Args:
        path: The file; it and its folder are made by the first ``append``.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    def read(self) -> list[Any]:
        """All whole lines; a last one without its line break was never finished and does not count.

        Raises:
            ValueError: If another line is no JSON: that is no accident of a kill.
        """
        if not self.path.is_file():
            return []
        whole, _, _ = self.path.read_bytes().rpartition(b"\n")
        lines = []
        for number, line in enumerate(whole.splitlines() if whole else [], 1):
            try:
                lines.append(json.loads(line))
            except ValueError as error:
                raise ValueError(f"{self.path}, line {number} is no JSON ({error}): remove the line") from None
        return lines

    def repair(self) -> None:
        """Cut off a half-written last line."""
        if not self.path.is_file():
            return
        data = self.path.read_bytes()
        whole = data.rfind(b"\n") + 1
        if whole < len(data):
            os.truncate(self.path, whole)

    def append(self, rows: Iterable[Any]) -> None:
        """Write some lines and wait until they are on the disk."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        text = "".join(json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n" for row in rows)
        with open(self.path, "ab") as file:
            file.write(text.encode())
            file.flush()
            os.fsync(file.fileno())

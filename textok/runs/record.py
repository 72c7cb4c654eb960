"""What an evaluation leaves behind: its numbers, its warnings and every convention, in one file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from textok.callbacks.results import installed_version
from textok.metrics.distributed import on_first_rank
from textok.storage import write_json


def write_record(path: Path, numbers: dict[str, float], warnings: list[str], conventions: dict[str, Any]) -> Path:
    """Write an evaluation, on the first rank; every rank has to call it."""
    record = {
        "metrics": numbers,
        "warnings": warnings,
        "conventions": {**conventions, "textok": installed_version("textok")},
    }
    on_first_rank(lambda: write_json(path, record))
    return path

"""Whether what a command is about to write fits on the disk."""

from __future__ import annotations

import shutil
from pathlib import Path


def require_space(folder: str | Path, needed: float) -> None:
    """Refuse to begin what would fill the disk.

    Args:
        folder: Where it will be written; it need not be there yet.
        needed: Bytes that are still to be written.

    Raises:
        ValueError: If fewer are free.
    """
    place = Path(folder).absolute()
    while not place.is_dir():
        place = place.parent
    free = shutil.disk_usage(place).free
    if needed > free:
        raise ValueError(
            f"{folder} needs another {needed / 1e6:,.1f} MB, and its disk has {free / 1e6:,.1f} MB free: free some, or "
            "name a folder on another disk with --output"
        )

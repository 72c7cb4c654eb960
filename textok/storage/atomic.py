"""Files that are either complete or not there.

A writer fills a temporary file beside its target; once the bytes are on the disk, one rename puts them in place.
A process killed at any moment, or a full disk, leaves the file that was there before.
"""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

#: What a new file's mode lacks. Read once: asking for it means setting it, for all threads.
_UMASK = os.umask(0o077)
os.umask(_UMASK)


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """A temporary path to write to, which becomes ``path`` when the block ends well and vanishes when it does not.

    The temporary file lies in the same folder (a rename is atomic only within a file system) and ends like the target,
    for writers that look at the suffix. Missing folders are made. The file may be read by whom ``open`` would let read
    it, also where a writer (safetensors) made it the owner's alone.
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".tmp-{uuid.uuid4().hex[:12]}-{target.name}")
    try:
        yield temporary
        sync(temporary)
        if temporary.is_file():
            os.chmod(temporary, 0o666 & ~_UMASK)
        os.replace(temporary, target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync(target.parent)


def write_atomic(path: str | Path, data: bytes | str) -> None:
    """Write a whole file at once; text is stored as UTF-8."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(data.encode() if isinstance(data, str) else data)


def write_json(path: str | Path, obj: Any) -> None:
    """Write an object as indented JSON.

    Raises:
        ValueError: If it holds a NaN or an infinity, which JSON has no word for; write None instead.
    """
    write_atomic(path, json.dumps(obj, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def sync(path: Path) -> None:
    """Flush a file's or a folder's data to the disk: without the folder's flush the rename itself can be lost."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

"""What tars hold, remembered beside them: a tar is scanned once, by one of all the processes that need it.

Whoever finds tars without an index scans those that no other process is at, on this machine or on another that shares
the disk; then all read all indices. An index is of a tar with one length and one time of its last change: another one
is scanned again.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from lightning.pytorch.utilities import rank_zero_info

from textok.datamodules.blobs import TarBlob
from textok.datamodules.sources import Row
from textok.storage import write_atomic

#: Raised by one when an index, or what is read from a tar, changes its meaning.
FORMAT = 1
#: The folder beside the tars, hidden from whatever lists them.
BESIDE = ".textok-index"
#: Where indices of tars lie whose folder cannot be written to.
ELSEWHERE = Path("~/.cache/textok/tars")


class Contents(NamedTuple):
    """What a scan of a tar found.

    Args:
        rows: Its pictures.
        skipped: Name and reason of what cannot be used.
    """

    rows: list[Row]
    skipped: list[tuple[str, str]]


class TarIndex:
    """The index of one tar.

    Args:
        shard: The tar.
        reads: What of its members is read, as JSON can hold it; each choice has an index of its own.
    """

    def __init__(self, shard: Path, reads: dict[str, Any]) -> None:
        self.shard = shard
        folder = shard.parent / BESIDE
        if not os.access(folder if folder.is_dir() else shard.parent, os.W_OK):
            place = hashlib.sha256(str(shard.parent.resolve()).encode("utf-8", "surrogateescape")).hexdigest()[:16]
            elsewhere = ELSEWHERE.expanduser() / place
            folder = folder if self._path(folder, reads).is_file() else elsewhere
        self.path = self._path(folder, reads)
        state = shard.stat()
        self._tar = {"format": FORMAT, "reads": reads, "size": state.st_size, "mtime_ns": state.st_mtime_ns}

    def is_fresh(self) -> bool:
        """Whether there is one, of the tar as it is now."""
        try:
            with self.path.open(encoding="ascii") as file:
                head = json.loads(file.readline())
            return self._tar.items() <= head.items()
        except (OSError, ValueError, AttributeError):
            return False

    def read(self) -> Contents | None:
        """What the tar holds; None where there is no index or that of another state of the tar.

        An index that is damaged is named in a warning and is none.
        """
        try:
            data = self.path.read_bytes()
        except OSError:
            return None
        try:
            line, body = data.split(b"\n", 1)
            head = json.loads(line)
            if not self._tar.items() <= head.items():
                return None
            if hashlib.sha256(body).hexdigest() != head["sha256"]:
                raise ValueError("its checksum is another")
            content = json.loads(body)
            rows = [
                Row(key, TarBlob(str(self.shard), offset, size), tuple(captions), category)
                for key, offset, size, captions, category in content["rows"]
            ]
            return Contents(rows, [(name, reason) for name, reason in content["skipped"]])
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            warnings.warn(f"the index {self.path} is damaged ({error}): {self.shard} is scanned again", stacklevel=2)
            return None

    def write(self, contents: Contents) -> bool:
        """Keep what a scan found, if the disk lets anything be written; whether it did."""
        rows = [[row.key, row.blob.offset, row.blob.size, row.captions, row.category] for row in contents.rows]
        body = json.dumps({"rows": rows, "skipped": contents.skipped}).encode("ascii")
        head = self._tar | {"sha256": hashlib.sha256(body).hexdigest()}
        try:
            write_atomic(self.path, json.dumps(head).encode("ascii") + b"\n" + body)
        except OSError:
            return False
        return True

    @contextmanager
    def claimed(self, wait: bool) -> Iterator[bool]:
        """Whether this process is the one to scan the tar, until the block ends; a kill ends it, too.

        Args:
            wait: Until whoever is at it has finished.
        """
        path = self.path.with_suffix(".lock")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            file = path.open("a")
        except OSError:
            yield True
            return
        with file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
                return
            except OSError:  # a file system without locks: several may scan, and write the same
                pass
            try:
                yield True
            finally:
                path.unlink(missing_ok=True)

    def _path(self, folder: Path, reads: dict[str, Any]) -> Path:
        choice = hashlib.sha256(json.dumps(reads, sort_keys=True).encode()).hexdigest()[:8]
        return folder / f"{self.shard.name}.{choice}.json"


def contents_of(shards: Sequence[Path], reads: dict[str, Any], scan: Callable[[Path], Contents]) -> Iterator[Contents]:
    """What each tar holds, from its index where it has one.

    Args:
        shards: The tars.
        reads: What of their members ``scan`` reads.
        scan: Lists one tar.
    """
    indices = [TarIndex(shard, reads) for shard in shards]
    stale = [index for index in indices if not index.is_fresh()]
    if stale:
        rank_zero_info(
            f"{len(stale):,} of {len(shards):,} tars are scanned, the first is {stale[0].shard}; what they hold is "
            f"kept in {stale[0].path.parent}"
        )
    unkept: dict[Path, Contents] = {}
    for index in stale:
        with index.claimed(wait=False) as mine:
            if mine and not index.is_fresh():
                contents = scan(index.shard)
                if not index.write(contents):
                    unkept[index.shard] = contents
    for index in indices:
        contents = unkept.get(index.shard) or index.read()
        if contents is None:  # it is damaged, or another process is at it
            with index.claimed(wait=True):
                contents = index.read() if index.is_fresh() else None
                if contents is None:
                    contents = scan(index.shard)
                    index.write(contents)
        yield contents

"""Where the bytes of a picture lie: a file, a range of a tar, a cell of a Parquet file.

A blob is a few words that can be sent to a worker; it opens what it needs when it is read.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple, Protocol

#: Row groups of Parquet files that a process keeps in memory; as many are mixed by the order of an epoch.
KEPT_GROUPS = 8


class Blob(Protocol):
    """Bytes on the disk."""

    @property
    def shard(self) -> str | None:
        """What it shares a file with; blobs of one shard are read faster in a row. None for single files."""

    def read(self) -> bytes:
        """The bytes.

        Raises:
            OSError: If they cannot be read.
        """


class FileBlob(NamedTuple):
    """A file of its own.

    Args:
        path: The file.
    """

    path: str

    @property
    def shard(self) -> None:
        return None

    def read(self) -> bytes:
        return Path(self.path).read_bytes()


class TarBlob(NamedTuple):
    """A member of a tar that is not compressed.

    Args:
        path: The tar.
        offset: Where the member's bytes begin.
        size: How many they are.
    """

    path: str
    offset: int
    size: int

    @property
    def shard(self) -> str:
        return self.path

    def read(self) -> bytes:
        with open(self.path, "rb") as file:
            file.seek(self.offset)
            data = file.read(self.size)
        if len(data) < self.size:
            raise OSError(f"the tar ends after {len(data)} of the {self.size} bytes")
        return data


class ParquetBlob(NamedTuple):
    """A cell of a column of pictures, as bytes or in Hugging Face's form of bytes and path.

    Args:
        path: The Parquet file.
        column: The column.
        group: The row group.
        row: The row inside of the group.
    """

    path: str
    column: str
    group: int
    row: int

    @property
    def shard(self) -> str:
        return f"{self.path}#{self.group}"

    def read(self) -> bytes:
        cell = _column(self.path, self.column, self.group)[self.row].as_py()
        data = cell.get("bytes") if isinstance(cell, dict) else cell
        if data is None:
            raise OSError("the cell is empty")
        return data


@lru_cache(maxsize=KEPT_GROUPS + 1)
def _column(path: str, column: str, group: int) -> Any:
    import pyarrow.parquet

    with pyarrow.parquet.ParquetFile(path) as file:
        return file.read_row_group(group, columns=[column]).column(0)

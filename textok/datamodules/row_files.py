"""Rows of JSON lines, CSV, TSV and Parquet files, and what is wrong with those that cannot be read.

One bad row ends nothing here: whoever reads decides whether it is an error or is counted.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

#: Number of each row, and its fields; or what is wrong with it, to be put behind its name ("is not UTF-8").
Rows = Iterator[tuple[int, dict[str, Any] | str]]

NOT_UTF8 = "is not UTF-8: convert the file"


def read_jsonl(path: Path) -> Rows:
    """The objects of a file with one a line; empty lines are left out, but counted."""
    with open(path, "rb") as file:
        for number, line in enumerate(file, 1):
            try:
                text = line.decode("utf-8-sig" if number == 1 else "utf-8").strip()
                fields = json.loads(text) if text else None
            except UnicodeDecodeError:
                yield number, NOT_UTF8
            except ValueError as error:
                yield number, f"is no JSON ({error})"
            else:
                if isinstance(fields, dict):
                    yield number, fields
                elif text:
                    yield number, f"is no JSON object: {text[:40]!r}"


def read_csv(path: Path, dialect: str = "excel") -> Rows:
    """The rows below the head line, by the number of the line where each ends."""
    # Bytes that are not UTF-8 become surrogates, so that one bad line does not end the file.
    with open(path, encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
        reader = csv.DictReader(file, dialect=dialect)
        for fields in reader:
            if None in fields or None in fields.values():
                yield reader.line_num, "does not have as many fields as the head line"
            elif any("\udc80" <= character <= "\udcff" for text in fields.values() for character in text):
                yield reader.line_num, NOT_UTF8
            else:
                yield reader.line_num, fields


def read_tsv(path: Path) -> Rows:
    """As ``read_csv``, with tabs between the fields."""
    return read_csv(path, "excel-tab")


def read_parquet(path: Path) -> Rows:
    """The rows of a Parquet file, read piecewise.

    Raises:
        ImportError: If pyarrow is not installed.
        ValueError: If it is none.
    """
    pyarrow = import_pyarrow()
    try:
        file = pyarrow.parquet.ParquetFile(path)
    except pyarrow.ArrowInvalid as error:
        raise ValueError(f"{path} is no Parquet file ({error})") from None
    rows = (row for batch in file.iter_batches() for row in batch.to_pylist())
    yield from enumerate(rows, 1)


def import_pyarrow() -> Any:
    """pyarrow with its Parquet part.

    Raises:
        ImportError: Naming the extra that brings it.
    """
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise ImportError('Parquet files need pyarrow: pip install "textok[parquet]"') from error
    return pyarrow


#: Suffix → reader.
READERS: dict[str, Callable[[Path], Rows]] = {
    ".jsonl": read_jsonl,
    ".csv": read_csv,
    ".tsv": read_tsv,
    ".parquet": read_parquet,
}

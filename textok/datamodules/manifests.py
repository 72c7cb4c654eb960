"""Manifests: a JSONL, CSV or Parquet file with a row for each picture."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from textok.datamodules.blobs import Blob, FileBlob, ParquetBlob
from textok.datamodules.caption_text import captions_of
from textok.datamodules.row_files import READERS, import_pyarrow
from textok.datamodules.sources import Row, Skip, Source, inside


class ManifestSource(Source):
    """A JSONL or CSV file with a row for each picture; rows of the same picture give it several captions.

    Paths are relative to the folder of the manifest.

    Args:
        path: The manifest; its suffix (.jsonl, .csv or .tsv) tells the format.
        image_column: Column with the path of the picture.
        caption_column: Column with its caption, or in JSONL a list of captions.
        category_column: Column with its class; None where there is none.
        weight: Share of the training pictures that come from this source, relative to the other sources' weights.
        name: Put before the keys of this source, which keeps those of several sources apart.
    """

    def __init__(
        self,
        path: Path,
        image_column: str = "image",
        caption_column: str = "caption",
        category_column: str | None = None,
        weight: float | None = None,
        name: str = "",
    ) -> None:
        super().__init__(weight, name)
        self.path = Path(path)
        readers = {suffix: reader for suffix, reader in READERS.items() if suffix != ".parquet"}
        if self.path.suffix not in readers:
            raise ValueError(
                f"{self.path}: a manifest ends in {', '.join(readers)}; Parquet is read by ParquetSource, "
                "a COCO file by CocoSource"
            )
        self._read = readers[self.path.suffix]
        self.image_column = image_column
        self.caption_column = caption_column
        self.category_column = category_column

    def rows(self, skip: Skip) -> Iterator[Row]:
        found: dict[str, tuple[list[str], str]] = {}
        for number, fields in self._read(self.path):
            where = f"{self.path.name}, line {number}"
            if isinstance(fields, str):
                skip(where, f"it {fields}")
                continue
            key = fields.get(self.image_column)
            if key is None and number <= 2:
                raise ValueError(
                    f"{self.path} has no column {self.image_column!r}, only {sorted(map(str, fields))}: "
                    "set image_column and caption_column"
                )
            if not isinstance(key, str) or not inside(key):
                skip(where, f"{key!r} is not a path below the manifest's folder")
                continue
            try:
                captions = captions_of(fields.get(self.caption_column))
            except ValueError as error:
                skip(f"{where} ({key})", str(error))
                continue
            category = "" if self.category_column is None else str(fields.get(self.category_column, ""))
            known, _ = found.setdefault(key, ([], category))
            known.extend(captions)
        for key, (captions, category) in found.items():
            yield Row(key, FileBlob(str(self.path.parent / key)), tuple(dict.fromkeys(captions)), category)


class ParquetSource(Source):
    """Parquet files with a row for each picture: its bytes, as Hugging Face's shards hold them, or its path.

    Needs pyarrow: pip install "textok[parquet]".

    Args:
        path: The folder of the files.
        pattern: Which of its files, as in "train-*.parquet".
        image_column: Column with the bytes, with Hugging Face's pair of bytes and path, or with a path that is relative
            to the folder.
        caption_column: Column with a caption or a list of captions; None where there is none.
        category_column: Column with the class; None where there is none.
        weight: Share of the training pictures that come from this source, relative to the other sources' weights.
        name: Put before the keys of this source, which keeps those of several sources apart.
    """

    def __init__(
        self,
        path: Path,
        pattern: str = "*.parquet",
        image_column: str = "image",
        caption_column: str | None = "caption",
        category_column: str | None = None,
        weight: float | None = None,
        name: str = "",
    ) -> None:
        super().__init__(weight, name)
        self.path = Path(path)
        self.pattern = pattern
        self.image_column = image_column
        self.caption_column = caption_column
        self.category_column = category_column

    def rows(self, skip: Skip) -> Iterator[Row]:
        for file in find_shards(self.path, self.pattern):
            yield from self._rows_of(file, skip)

    def _rows_of(self, file: Path, skip: Skip) -> Iterator[Row]:
        pyarrow = import_pyarrow()
        try:
            with pyarrow.parquet.ParquetFile(file) as opened:
                schema = opened.schema_arrow
                for column in filter(None, (self.image_column, self.caption_column, self.category_column)):
                    if column not in schema.names:
                        raise ValueError(f"{file} has no column {column!r}, only {schema.names}")
                kind = schema.field(self.image_column).type
                paths = pyarrow.types.is_string(kind) or pyarrow.types.is_large_string(kind)
                # Of pictures inside the file only the paths beside the bytes are read.
                has_names = pyarrow.types.is_struct(kind) and kind.get_field_index("path") >= 0
                name = f"{self.image_column}.path" if has_names else self.image_column if paths else None
                columns = [c for c in (name, self.caption_column, self.category_column) if c is not None]
                for group in range(opened.num_row_groups):
                    count = opened.metadata.row_group(group).num_rows
                    table = opened.read_row_group(group, columns=columns).to_pylist() if columns else [{}] * count
                    for row, fields in enumerate(table):
                        yield from self._row(file, group, row, fields, paths, skip)
        except pyarrow.ArrowInvalid as error:
            raise ValueError(f"{file} cannot be read as Parquet: {error}") from error

    def _row(self, file: Path, group: int, row: int, fields: dict[str, Any], paths: bool, skip: Skip) -> Iterator[Row]:
        image = fields.get(self.image_column)
        number = f"{file.stem}/{group}-{row}"
        blob: Blob
        if paths:
            if image is None or not inside(image):
                skip(number, f"{image!r} is not a path below {self.path}")
                return
            key, blob = image, FileBlob(str(self.path / image))
        else:
            # Names inside of shards repeat or are missing; the place does not.
            blob = ParquetBlob(str(file), self.image_column, group, row)
            key = f"{number}/{image['path']}" if isinstance(image, dict) and image.get("path") else number
        try:
            captions = captions_of(fields.get(self.caption_column))
        except ValueError as error:
            skip(key, str(error))
            return
        category = "" if self.category_column is None else str(fields[self.category_column])
        yield Row(key, blob, captions, category)


def find_shards(folder: Path, pattern: str) -> list[Path]:
    """The files of a pattern, sorted.

    Raises:
        OSError: If there are none.
    """
    found = sorted(folder.glob(pattern))
    if not found:
        raise FileNotFoundError(f"{folder} has no file {pattern}: check the paths of the data section")
    return found

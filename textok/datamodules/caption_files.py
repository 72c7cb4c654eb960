"""Caption sets as people publish them: JSON lines, CSV or Parquet, one image or one caption a row.

Every row must say what it means: a wrong encoding, a caption that is no string or a missing field is an error that
names the file and the line.
"""

from __future__ import annotations

import string
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from textok.datamodules.row_files import READERS, read_parquet

#: Where captions and keys are looked for when nobody names a field; the first that a row has is taken.
CAPTION_FIELDS = ("captions", "caption", "text")
KEY_FIELDS = ("key", "file_name", "filename", "name", "image", "path")


@dataclass(frozen=True)
class CaptionRow:
    """What one row says.

    Args:
        key: The image.
        captions: Its captions; empty ones are left out.
        where: File and line, for messages.
    """

    key: str
    captions: list[str]
    where: str


@dataclass(frozen=True)
class CaptionFields:
    """Which fields of a row make its key and its captions.

    Args:
        key: The key, with fields in braces, as in "{synset}_{number}"; by default the first field of key, file_name,
            filename, name, image, path.
        caption: Field with the caption, or with a list of captions; by default the first of captions, caption, text.
        stem: Leave folders and the suffix of the key out: "train/n01440764/n01440764_10026.JPEG" becomes
            "n01440764_10026".
    """

    key: str | None = None
    caption: str | None = None
    stem: bool = False

    def row(self, fields: dict[str, Any], where: str) -> CaptionRow:
        """The row that these fields make.

        Raises:
            ValueError: If a field is missing or of the wrong type.
        """
        key = self._key(fields, where)
        name = self.caption or next((field for field in CAPTION_FIELDS if field in fields), None)
        if name is None or name not in fields:
            raise missing(where, self.caption or " or ".join(CAPTION_FIELDS), fields, "caption_field")
        values = fields[name] if isinstance(fields[name], list) else [fields[name]]
        for value in values:
            if value is not None and not isinstance(value, str):
                raise ValueError(f"{where}: the caption of {key!r} is no string but {value!r}")
        captions = [value.strip() for value in values if value is not None]
        for text in (key, *captions):
            try:
                text.encode()
            except UnicodeEncodeError:
                raise ValueError(f"{where}: {text[:40]!a} is not valid Unicode (half of a surrogate pair)") from None
        return CaptionRow(stem(key) if self.stem else key, [caption for caption in captions if caption], where)

    def _key(self, fields: dict[str, Any], where: str) -> str:
        if self.key is None:
            name = next((field for field in KEY_FIELDS if field in fields), None)
            if name is None:
                raise missing(where, " or ".join(KEY_FIELDS), fields, "key")
            key = str(fields[name])
        else:
            template = self.key if "{" in self.key else "{" + self.key + "}"
            for _, name, _, _ in string.Formatter().parse(template):
                if name is not None and name not in fields:
                    raise missing(where, name, fields, "key")
            key = template.format(**fields)
        if not key:
            raise ValueError(f"{where}: the key is empty")
        return key


def missing(where: str, name: str, fields: dict[str, Any], option: str) -> ValueError:
    return ValueError(
        f"{where}: there is no field {name}; the fields are {', '.join(map(str, fields))}: give --{option}"
    )


def stem(key: str) -> str:
    """A key without folders and suffix."""
    name = key.replace("\\", "/").rpartition("/")[2]
    return name.rpartition(".")[0] or name


def read_rows(
    path: str | Path, fields: CaptionFields, bad: Callable[[str], None] | None = None
) -> Iterator[CaptionRow]:
    """The rows of a .jsonl, .csv, .tsv or .parquet file.

    Args:
        path: The file.
        fields: Which fields to take.
        bad: Told about each row that cannot be used, which is then left out; None raises instead.

    Raises:
        ValueError: At a row that cannot be used, or for a file of another kind.
    """
    path = Path(path)
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise ValueError(f"{path} is none of {', '.join(READERS)}: convert it, or give it the suffix of what it is")
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist")
    unit = "row" if reader is read_parquet else "line"
    for number, content in reader(path):
        where = f"{path}, {unit} {number}"
        try:
            if isinstance(content, str):
                raise ValueError(f"{where} {content}")
            row = fields.row(content, where)
        except ValueError as error:
            if bad is None:
                raise
            bad(str(error))
            continue
        yield row

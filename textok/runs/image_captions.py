"""The captions of a set of image files, from one file."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

FORMATS = "a .txt with one caption a line in the order of the images, or a .jsonl or .csv with `name` and `caption`"


def read_captions(path: Path, names: Sequence[str] | None, count: int) -> list[str]:
    """One caption an image.

    Args:
        path: The file.
        names: The images' names without their endings; None where only their order tells them apart.
        count: Number of images.

    Raises:
        FileNotFoundError: If there is no file.
        ValueError: If it is none of the formats, or an image has no caption.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"there is no caption file {path}")
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8 ({error})") from error
    if path.suffix == ".txt":
        lines = text.splitlines()
        if len(lines) != count:
            raise ValueError(f"{path} has {len(lines)} lines for {count} images: one caption a line")
        return lines
    if path.suffix not in (".jsonl", ".csv"):
        raise ValueError(f"{path} is not {FORMATS}")
    if names is None:
        raise ValueError(f"{path}: the images have no names, only an order: give a .txt with one caption a line")
    captions = _by_name(path, text)
    lacking = [name for name in names if name not in captions]
    if lacking:
        raise ValueError(f"{path} has no caption for {lacking[0]} (of {count} images, {len(lacking)} have none)")
    return [captions[name] for name in names]


def _by_name(path: Path, text: str) -> dict[str, str]:
    captions: dict[str, str] = {}
    rows = csv.DictReader(text.splitlines()) if path.suffix == ".csv" else filter(str.strip, text.splitlines())
    for number, row in enumerate(rows, 1):
        try:
            entry = row if isinstance(row, dict) else json.loads(row)
            name, caption = entry["name"], entry["caption"]
            if not (isinstance(name, str) and isinstance(caption, str)):
                raise TypeError("name and caption must be text")
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{path}, entry {number}: {error}; it must be {FORMATS}") from error
        captions[PurePosixPath(name).with_suffix("").as_posix()] = caption
    return captions

"""The captions of a set of image files, from one file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from textok.datamodules.caption_files import CaptionFields, read_rows


def read_captions(path: Path, names: Sequence[str] | None, count: int) -> list[str]:
    """One caption an image; of several the first.

    Args:
        path: A .txt with one caption a line in the order of the images, or a caption set (.jsonl, .csv, .tsv, .parquet)
            with the images' names.
        names: The images' names without their endings; None where only their order tells them apart.
        count: Number of images.

    Raises:
        FileNotFoundError: If there is no file.
        ValueError: If it is none of the formats, or an image has no caption.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"there is no caption file {path}")
    if path.suffix == ".txt":
        try:
            lines = path.read_text(encoding="utf-8-sig").splitlines()
        except UnicodeDecodeError as error:
            raise ValueError(f"{path} is not UTF-8 ({error})") from error
        if len(lines) != count:
            raise ValueError(f"{path} has {len(lines)} lines for {count} images: one caption a line")
        return lines
    if names is None:
        raise ValueError(f"{path}: the images have no names, only an order: give a .txt with one caption a line")
    captions: dict[str, str] = {}
    for row in read_rows(path, CaptionFields()):
        for caption in row.captions:
            captions.setdefault(PurePosixPath(row.key).with_suffix("").as_posix(), caption)
    lacking = [name for name in names if name not in captions]
    if lacking:
        raise ValueError(f"{path} has no caption for {lacking[0]} (of {count} images, {len(lacking)} have none)")
    return [captions[name] for name in names]

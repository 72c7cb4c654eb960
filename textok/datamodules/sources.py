"""Sources of captioned pictures: what lists the pictures of one place on the disk.

A source reads names and captions, not pictures. What it cannot list it names with the reason, so that nothing goes
missing silently.
"""

from __future__ import annotations

import json
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from textok.datamodules.blobs import Blob, FileBlob
from textok.datamodules.caption_text import CAPTION_ENCODING, first_line

#: Suffixes of pictures, in lower case.
SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".ppm", ".pgm", ".jfif", ".avif"}
)

#: Notes something that is listed but cannot be used: its name and the reason.
Skip = Callable[[str, str], None]


class Row(NamedTuple):
    """One picture of a source.

    Args:
        key: Its stable name, unique within the source.
        blob: Where its bytes lie.
        captions: Its captions, the best first.
        category: What it shows, as the source names it: a synset, a folder, a number; "" where it has no class.
    """

    key: str
    blob: Blob
    captions: tuple[str, ...] = ()
    category: str = ""


class Source(ABC):
    """Lists the pictures of one place.

    Args:
        weight: Share of the training pictures that come from this source, relative to the other sources' weights;
            None in all of them shows each picture once an epoch.
        name: Put before the keys of this source, which keeps those of several sources apart.
    """

    def __init__(self, weight: float | None = None, name: str = "") -> None:
        if weight is not None and not weight > 0:
            raise ValueError(f"the weight of a source must be positive, got {weight}")
        self.weight = weight
        self.name = name

    @abstractmethod
    def rows(self, skip: Skip) -> Iterator[Row]:
        """All pictures in an order that is the same on every machine.

        Args:
            skip: Called with name and reason for what is listed but cannot be used.

        Raises:
            OSError: If the place is not there.
            ValueError: If it is not what the source reads.
        """


class FolderSource(Source):
    """A folder of pictures, at any depth; the caption of a picture is the first line of the .txt beside it.

    That is also the format of Tux Paint's stamps, whose further lines are translations.

    Args:
        path: The folder.
        captioned_only: List only pictures that have a .txt; the others are not part of the set.
        categories: The first folder below ``path`` names the class.
        weight: Share of the training pictures that come from this source, relative to the other sources' weights.
        name: Put before the keys of this source, which keeps those of several sources apart.
    """

    def __init__(
        self,
        path: Path,
        captioned_only: bool = False,
        categories: bool = False,
        weight: float | None = None,
        name: str = "",
    ) -> None:
        super().__init__(weight, name)
        self.path = Path(path)
        self.captioned_only = captioned_only
        self.categories = categories

    def rows(self, skip: Skip) -> Iterator[Row]:
        files = list_files(self.path)
        texts = {file for file in files if file.endswith(".txt")}
        for key in (file for file in files if Path(file).suffix.lower() in SUFFIXES):
            text = str(Path(key).with_suffix(".txt").as_posix())
            captions: tuple[str, ...] = ()
            if text in texts:
                try:
                    captions = first_line((self.path / text).read_bytes())
                except UnicodeDecodeError as error:
                    skip(key, f"{text} is not {CAPTION_ENCODING} (byte {error.start}): convert it")
                    continue
            elif self.captioned_only:
                continue
            folder, _, rest = key.partition("/")
            if self.categories and not rest:
                skip(key, f"it lies in no folder of {self.path}, so it has no class")
                continue
            yield Row(key, FileBlob(str(self.path / key)), captions, folder if self.categories else "")


class CocoSource(Source):
    """COCO captions: pictures in one folder, all captions of a split in one JSON file.

    Args:
        annotations: The file, as captions_val2017.json.
        images: The folder of its pictures, as val2017.
        weight: Share of the training pictures that come from this source, relative to the other sources' weights.
        name: Put before the keys of this source, which keeps those of several sources apart.
    """

    def __init__(self, annotations: Path, images: Path, weight: float | None = None, name: str = "") -> None:
        super().__init__(weight, name)
        self.annotations = Path(annotations)
        self.images = Path(images)

    def rows(self, skip: Skip) -> Iterator[Row]:
        try:
            content = json.loads(self.annotations.read_text(encoding="utf-8"))
            files = {image["id"]: image["file_name"] for image in content["images"]}
            pairs = [(note["image_id"], note["caption"]) for note in content["annotations"]]
        except (UnicodeDecodeError, json.JSONDecodeError, KeyError, TypeError) as error:
            raise ValueError(
                f"{self.annotations} is not a COCO captions file, which has images with id and file_name and "
                f"annotations with image_id and caption: {type(error).__name__} {error}"
            ) from error
        captions: dict[int, list[str]] = {image: [] for image in files}
        for image, caption in pairs:
            if image not in captions:
                skip(f"image {image}", f"{self.annotations.name} has a caption of it, but not its file name")
            elif caption.strip():
                captions[image].append(" ".join(caption.split()))
        for image, file in files.items():
            if not inside(file):
                skip(file, "the name leads out of the folder")
                continue
            yield Row(file, FileBlob(str(self.images / file)), tuple(captions[image]))


def list_files(folder: Path) -> list[str]:
    """Every file below a folder by its path in it, sorted; hidden ones are left out.

    Raises:
        OSError: If the folder is not there.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder} is not a folder: check the paths of the data section")
    found = []
    for root, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        prefix = "" if Path(root) == folder else Path(root).relative_to(folder).as_posix() + "/"
        found += [prefix + name for name in files if not name.startswith(".")]
    return sorted(found)


def inside(name: str) -> bool:
    """Whether a name stays below the folder that it is relative to."""
    return bool(name) and not name.startswith(("/", "\\")) and ":" not in name[:3] and ".." not in Path(name).parts

"""A caption bank: image key → captions, in one file that is mapped into memory.

A bank of all of ImageNet opens at once and its pages are shared by all workers and ranks of a machine. It belongs to no
dataset: any datamodule takes its captions from one (``caption_bank`` of :class:`~textok.datamodules.ImageDataModule`).
"""

from __future__ import annotations

import json
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from textok.datamodules.caption_files import CaptionRow
from textok.storage import StringIndex, StringTable, atomic_path, map_tensors, pack, pack_index, strings_digest

#: Name of the metadata, and version of the format.
METADATA, VERSION = "caption_bank", 1


class CaptionBank:
    """The captions of many images.

    Args:
        path: The file that :func:`build_bank` wrote.

    Raises:
        FileNotFoundError: If there is none.
        ValueError: If it is damaged or no caption bank.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path).expanduser()
        tensors, metadata = map_tensors(self.path)
        told = json.loads(metadata.get(METADATA, "{}"))
        if told.get("version") != VERSION:
            raise ValueError(f"{self.path} is no caption bank of this version: make one with textok bank build")
        #: SHA-256 of all keys and captions: the bank's name in manifests.
        self.digest: str = told["digest"]
        self._keys = StringIndex.read(tensors, "keys")
        self._captions = StringTable.read(tensors, "captions")
        self._first = tensors["first"].numpy()  # (n + 1,): the captions of key i are first[i] … first[i + 1] − 1

    def __reduce__(self):
        return CaptionBank, (self.path,)  # a worker that is spawned maps the file again

    def __len__(self) -> int:
        """Number of images."""
        return len(self._keys)

    @property
    def num_captions(self) -> int:
        return len(self._captions)

    def find(self, keys: Sequence[str]) -> np.ndarray:
        """(n,) int64; the number of each image, −1 where the bank has none of that key."""
        return self._keys.find(keys)

    def at(self, number: int) -> list[str]:
        """The captions of an image by its number, the best first."""
        return [self._captions[i] for i in range(self._first[number], self._first[number + 1])]

    def key(self, number: int) -> str:
        """The key of an image by its number."""
        return self._keys[number]

    def __contains__(self, key: object) -> bool:
        return key in self._keys

    def __getitem__(self, key: str) -> list[str]:
        """The captions of an image.

        Raises:
            KeyError: If the bank does not have it.
        """
        number = int(self.find([key])[0])
        if number < 0:
            raise KeyError(key)
        return self.at(number)


@dataclass(frozen=True)
class BankSummary:
    """What went into a bank.

    Args:
        images: Images in the bank.
        captions: Their captions.
        repeated: Rows whose key had come before.
        empty: Rows without a caption; their image is not in the bank unless another row has one.
    """

    images: int
    captions: int
    repeated: int
    empty: int


def build_bank(
    rows: Iterable[CaptionRow], path: str | Path, repeated: Literal["error", "join", "first"] = "error"
) -> BankSummary:
    """Write a bank.

    Args:
        rows: Images with their captions.
        path: The file to write; it is either complete or not there.
        repeated: What a key that comes again means: a mistake, further captions of the image, or nothing.

    Raises:
        ValueError: If no row has a caption, or a key comes again that must not.
    """
    places: dict[str, int] = {}
    wheres: list[str] = []
    numbers, texts = (
        array("q"),
        bytearray(),
    )  # the caption's image, and all captions: a list of str is five times as big
    ends = array("q")
    num_repeated = num_empty = 0
    for row in rows:
        if not row.captions:
            num_empty += 1
            continue
        place = places.get(row.key)
        if place is not None:
            num_repeated += 1
            if repeated == "error":
                raise ValueError(
                    f"{row.where}: the key {row.key!r} came before, in {wheres[place]}: "
                    "--repeated join keeps the captions of both rows, --repeated first those of the first"
                )
            if repeated == "first":
                continue
        else:
            place = places[row.key] = len(places)
            if repeated == "error":
                wheres.append(row.where)
        for caption in dict.fromkeys(row.captions):
            texts += caption.encode()
            ends.append(len(texts))
            numbers.append(place)
    if not places:
        raise ValueError(f"none of the {num_empty} rows has a caption: no bank was written")
    captions = StringTable(torch.frombuffer(texts, dtype=torch.uint8), torch.frombuffer(ends, dtype=torch.int64))
    _write(Path(path), list(places), captions, torch.frombuffer(numbers, dtype=torch.int64))
    return BankSummary(len(places), len(captions), num_repeated, num_empty)


def _write(path: Path, keys: list[str], captions: StringTable, owners: Tensor) -> None:
    """Store keys and their captions; ``owners`` has the key's number of each caption."""
    from safetensors.torch import save_file

    owners, order = owners.sort(stable=True)  # rows of one key may be far apart
    ordered = pack((captions[i] for i in order.tolist()), "captions")
    tensors = pack_index(keys, "keys") | ordered
    tensors["first"] = torch.searchsorted(owners, torch.arange(len(keys) + 1))
    table = StringTable.read(ordered, "captions")
    digest = strings_digest([strings_digest(keys), strings_digest(table), str(tensors["first"].tolist())])
    # One entry: safetensors writes several in a random order, and the same bank shall have the same bytes.
    metadata = {METADATA: json.dumps({"version": VERSION, "digest": digest})}
    with atomic_path(path) as temporary:
        save_file(tensors, temporary, metadata)

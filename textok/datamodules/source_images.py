"""The pictures of sources as a dataset: listed once, checked, decoded when they are asked for."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import torch
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor

from textok.datamodules.blobs import Blob
from textok.datamodules.dataset import CaptionedImages
from textok.datamodules.decoding import BadImage, Decoder
from textok.datamodules.missing_captions import MissingCaption
from textok.datamodules.order import mixed
from textok.datamodules.sources import Row, Source


@dataclass
class Listing:
    """What sources list: rows that can be used, and the others by name.

    Args:
        rows: The rows, one source after the other.
        counts: Rows of each source.
        weights: The sources' weights; None where they have none.
        skipped: Name of what was left out → reason.
    """

    rows: list[Row] = field(default_factory=list)
    counts: list[int] = field(default_factory=list)
    weights: list[float] | None = None
    skipped: dict[str, str] = field(default_factory=dict)

    def kept(self, keep: Callable[[Row], bool]) -> Listing:
        """The part of the rows that fulfil a condition; what was skipped stays with the other part."""
        rows, counts, first = [], [], 0
        for count in self.counts:
            mine = [row for row in self.rows[first : first + count] if keep(row)]
            rows += mine
            counts.append(len(mine))
            first += count
        return Listing(rows, counts, self.weights)


def list_sources(sources: Sequence[Source]) -> Listing:
    """List all sources.

    Raises:
        ValueError: If some sources have a weight and others none, or a weighted one is empty.
    """
    weights = [source.weight for source in sources]
    if any(weight is None for weight in weights) and any(weight is not None for weight in weights):
        raise ValueError(f"the weights of the sources are {weights}: give all of them a weight, or none")
    listing = Listing(weights=None if None in weights else weights)
    known: set[str] = set()

    for source in sources:
        before = len(listing.rows)
        prefix = f"{source.name}/" if source.name else ""

        def skip(name: str, reason: str, prefix: str = prefix) -> None:
            # A name may be bad twice; neither shall hide the other.
            name, number = prefix + name, 2
            while name in listing.skipped:
                name, number = f"{name.rsplit(' #', 1)[0]} #{number}", number + 1
            listing.skipped[name] = reason

        for row in source.rows(skip):
            row = row._replace(key=prefix + row.key)
            if row.key in known:
                skip(row.key.removeprefix(prefix), "the key is there twice: give the sources a name each")
                continue
            known.add(row.key)
            listing.rows.append(row)
        listing.counts.append(len(listing.rows) - before)
        if source.weight is not None and listing.counts[-1] == 0:
            raise ValueError(f"a source with weight {source.weight} ({type(source).__name__}) has no pictures")
    return listing


def held_out(key: str, share: float) -> bool:
    """Whether a picture belongs to the held-out share: a function of its key alone, so a set may grow."""
    number = int.from_bytes(hashlib.blake2b(key.encode("utf-8", "surrogateescape"), digest_size=8).digest(), "big")
    return number < share * 2**64


class SourceImages(CaptionedImages):
    """Pictures of sources.

    Args:
        listing: What the sources list.
        labels: Category → label.
        class_names: The name of each label.
        decoder: Turns bytes into pictures.
        missing: What becomes of pictures without a caption.
        what: What the set is called in a message.

    Raises:
        ValueError: If a picture has no caption and must have one, or has an unknown category.
    """

    def __init__(
        self,
        listing: Listing,
        labels: dict[str, int],
        class_names: list[str],
        decoder: Decoder,
        missing: MissingCaption,
        what: str,
    ) -> None:
        unknown = sorted({row.category for row in listing.rows} - labels.keys())
        if unknown:
            raise ValueError(f"the {what} pictures are of classes that training does not have: {unknown[:5]}")
        bare = [row for row in listing.rows if not row.captions]
        if bare and missing.refuses:
            raise ValueError(
                f"{len(bare):,} of {len(listing.rows):,} {what} pictures have no caption, the first is "
                f"{bare[0].key!r}: caption them, or set missing to SkipImage, NoCaption or TemplateForMissing"
            )
        if bare:
            rank_zero_info(
                f"{len(bare):,} of {len(listing.rows):,} {what} pictures have no caption of their own: "
                f"{missing.outcome}, the first is {bare[0].key!r}"
            )
        if missing.skips:
            listing = replace(listing.kept(lambda row: bool(row.captions)), skipped=listing.skipped)
        #: Pictures without a caption, whatever became of them.
        self.num_bare = len(bare)
        self._skipped = listing.skipped
        self._counts = listing.counts
        self._weights = listing.weights
        self._decoder = decoder
        self._keys = [row.key for row in listing.rows]
        self._blobs: list[Blob] = [row.blob for row in listing.rows]
        self._labels = [labels[row.category] for row in listing.rows]
        self._captions = [
            row.captions or tuple(missing.captions([], class_names[labels[row.category]])) for row in listing.rows
        ]
        self._shards = self._number_shards()
        if self._weights is not None and 0 in self._counts:
            raise ValueError(f"a source with a weight has no {what} pictures left: counts are {self._counts}")

    def __len__(self) -> int:
        return len(self._keys)

    def image(self, index: int) -> Tensor:
        return self._decoder.exact(self._read(index), self._keys[index])

    def training_image(self, index: int, shorter_side: int) -> Tensor:
        return self._decoder.fast(self._read(index), self._keys[index], shorter_side)

    def captions(self, index: int) -> list[str]:
        return list(self._captions[index])

    def label(self, index: int) -> int:
        return self._labels[index]

    def key(self, index: int) -> str:
        return self._keys[index]

    def skipped(self) -> dict[str, str]:
        return self._skipped

    def order(self, generator: torch.Generator) -> Tensor:
        return mixed(self._counts, self._weights, self._shards, generator)

    def _read(self, index: int) -> bytes:
        try:
            return self._blobs[index].read()
        except FileNotFoundError as error:
            raise BadImage(self._keys[index], "the file is missing") from error
        except OSError as error:
            raise BadImage(self._keys[index], f"it cannot be read: {error.strerror or error}") from error

    def _number_shards(self) -> list[Tensor | None]:
        numbered: list[Tensor | None] = []
        first = 0
        for count in self._counts:
            names = [blob.shard for blob in self._blobs[first : first + count]]
            places = {name: number for number, name in enumerate(dict.fromkeys(names))}
            shares = bool(names) and None not in places
            numbered.append(torch.tensor([places[name] for name in names]) if shares else None)
            first += count
        return numbered

"""Latents from the disk: what ``textok cache latents`` wrote, mapped into memory and read entry by entry."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from textok.datamodules.dataset import Entry, Read, seeded
from textok.datamodules.text_cache import TextCache
from textok.storage import Manifest, StringTable, map_tensors
from textok.types import Batch, Split

KIND = "latents"
#: Keys, labels, captions and the list of entries.
INDEX = "index.safetensors"
#: Name and captions of every class.
CLASSES = "classes.json"


class LatentCache:
    """What ``textok cache latents`` wrote, mapped into memory.

    Args:
        folder: The cache's folder.

    Raises:
        FileNotFoundError: If the cache is not there or not finished.
        ValueError: If it is damaged or of another version.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder).expanduser()
        self.manifest = Manifest.read(self.folder, KIND)
        self.manifest.check_files(self.folder)
        self.identity = self.manifest.identity
        index, _ = map_tensors(self.folder / INDEX)
        self.keys = StringTable.read(index, "keys")
        self.captions = StringTable.read(index, "captions")
        self.labels = index["labels"].numpy()
        #: Entry → caption's number, and whether the image was mirrored.
        self.caption_of = index["caption"].numpy()
        self.flipped = index["flip"].numpy()
        #: Image → its entries are first[i] … first[i + 1] − 1.
        self.first = index["first"].numpy()
        self.num_train: int = self.manifest.details["num_train"]
        #: Numbers of the images that could not be read when they were to be encoded.
        self.bad = {image for image, _, _ in self.manifest.details["bad"]}
        self._shards: dict[int, Tensor] = {}

    def __reduce__(self):
        return LatentCache, (self.folder,)  # a worker that is spawned maps the files again

    @cached_property
    def classes(self) -> list[dict[str, Any]]:
        """Name and captions of every class."""
        return json.loads((self.folder / CLASSES).read_text(encoding="utf-8"))

    def latents(self, entry: int) -> Tensor:
        """(K, Z) latents of an entry, mapped, as they are stored."""
        shard, place = divmod(entry, self.manifest.shard_size)
        if shard not in self._shards:
            tensors, _ = map_tensors(self.folder / self.manifest.shards[shard].file)
            self._shards[shard] = tensors["latents"]
        return self._shards[shard][place]


@dataclass
class CachedSample:
    """One row of a batch: a sample's place in its set, whether it counts, its image and the entry that was chosen."""

    index: int
    valid: bool
    image: int
    entry: int


class CachedSamples(torch.utils.data.Dataset):
    """The latents of one split, as the loaders read them.

    Args:
        cache: The cache.
        split: Which images.
        text: Text tokens that batches bring along; None where the module encodes the captions.
        flip: Use mirrored entries, too.
        seed: Seed of the choice among an image's entries.
        shuffled: Choose among the entries; otherwise the first one is taken, the unmirrored image with the caption that
            evaluation gives it.
    """

    def __init__(
        self,
        cache: LatentCache,
        split: Split,
        text: TextCache | None = None,
        flip: bool = False,
        seed: int = 0,
        shuffled: bool = False,
    ) -> None:
        self.cache = cache
        num_images = len(cache.labels)
        images = range(cache.num_train) if split == "train" else range(cache.num_train, num_images)
        self.images = [image for image in images if image not in cache.bad] if cache.bad else images
        self.text = text
        self.flip = flip
        self.seed = seed
        self.shuffled = shuffled

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, wanted: Entry) -> CachedSample:
        epoch, index, valid = wanted
        image = self.images[index]
        first, end = int(self.cache.first[image]), int(self.cache.first[image + 1])
        if not self.shuffled or end == first + 1:
            return CachedSample(index, valid, image, first)
        entries = [entry for entry in range(first, end) if self.flip or not self.cache.flipped[entry]]
        draw = float(torch.rand((), generator=seeded(self.seed, epoch, index + 1), dtype=torch.float64))
        return CachedSample(index, valid, image, entries[int(draw * len(entries))])

    def order(self, generator: torch.Generator) -> Tensor:
        """The images of an epoch in the order of training, (n,) int64."""
        return torch.randperm(len(self), generator=generator)

    def read(self, samples: list[CachedSample]) -> Read:
        """Samples → what a worker hands over; a cache has no bad pictures, they were left out when it was made."""
        return Read(self.collate(samples), [])

    def collate(self, samples: list[CachedSample]) -> Batch:
        """Samples → a batch with latents (B, K, Z) as they are stored, and no pixels."""
        captions = [self.cache.captions[int(self.cache.caption_of[s.entry])] for s in samples]
        return Batch(
            index=torch.tensor([s.index for s in samples]),
            valid=torch.tensor([s.valid for s in samples]),
            key=[self.cache.keys[s.image] for s in samples],
            image=torch.empty(len(samples), 3, 0, 0),
            caption=captions,
            label=torch.tensor([int(self.cache.labels[s.image]) for s in samples]),
            text=None if self.text is None else self.text(captions),
            latents=torch.stack([self.cache.latents(s.entry) for s in samples]),
        )

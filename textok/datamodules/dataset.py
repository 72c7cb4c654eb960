"""Captioned pictures, read one by one: what every dataset of textok is.

A dataset knows its pictures, their captions, labels and keys and nothing else. ``Samples`` adds what training needs on
top: the augmentation and the choice of a caption, both functions of (seed, epoch, index) and of nothing else, so that a
sample is the same in any worker, on any rank and after a resume.
"""

from __future__ import annotations

import hashlib
import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import torch
from torch import Tensor

from textok.datamodules.crops import EvalCrop, FitSquare
from textok.datamodules.decoding import BadImage
from textok.datamodules.policies import CaptionPolicy, Record
from textok.datamodules.text_cache import TextCache
from textok.datamodules.transforms import Augmentation, augment
from textok.types import Batch


class CaptionedImages(ABC):
    """Pictures with captions, numbered from zero."""

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def image(self, index: int) -> Tensor:
        """The picture as uint8 (3, H, W), of any size."""

    @abstractmethod
    def captions(self, index: int) -> list[str]:
        """All captions of the picture, the best first; empty where it has none."""

    @abstractmethod
    def label(self, index: int) -> int:
        """The class of the picture, ``0 … num_classes - 1``."""

    @abstractmethod
    def key(self, index: int) -> str:
        """The stable name of the picture: unique, the same on every machine."""

    def training_image(self, index: int, shorter_side: int) -> Tensor:
        """The picture for training, which may be decoded at a reduced size.

        Args:
            index: Its number.
            shorter_side: What its shorter side must at least be, if it has as many pixels.
        """
        return self.image(index)

    def order(self, generator: torch.Generator) -> Tensor:
        """The pictures of an epoch in the order of training, (n,) int64: each once, if the dataset knows no better."""
        return torch.randperm(len(self), generator=generator)

    def skipped(self) -> dict[str, str]:
        """What was listed and could not become a picture of the dataset: its name → the reason."""
        return {}


class Entry(NamedTuple):
    """Which sample to read: the picture, the epoch it is read in, and whether it counts or only pads a batch."""

    epoch: int
    index: int
    valid: bool = True


@dataclass
class Sample:
    """One row of a ``Batch``."""

    index: int
    valid: bool
    key: str
    image: Tensor
    caption: str
    label: int
    #: Pictures that could not be read on the way to this one.
    bad: list[BadImage] = field(default_factory=list)


class Read(NamedTuple):
    """What a loader's worker hands over: a batch, and the pictures that could not be read for it."""

    batch: Batch
    bad: list[BadImage]


class Samples(torch.utils.data.Dataset):
    """A dataset as a model sees it: pictures of one size, each with one caption.

    Args:
        images: The pictures.
        class_names: The name of each label, for caption policies that use it.
        image_size: Height and width of the samples.
        policy: Chooses the caption.
        augmentation: How training varies the pictures; None reads them for evaluation: fixed, with the first caption
            that the policy could choose.
        seed: Seed of augmentation and caption choice.
        text: Text tokens that batches bring along; None where the module encodes the captions.
        crop: Makes a square of a picture in evaluation; None takes the largest centred one.
        max_bad: How many bad pictures in a row training passes over.
    """

    def __init__(
        self,
        images: CaptionedImages,
        class_names: list[str],
        image_size: int,
        policy: CaptionPolicy,
        augmentation: Augmentation | None = None,
        seed: int = 0,
        text: TextCache | None = None,
        crop: EvalCrop | None = None,
        max_bad: int = 0,
    ) -> None:
        self.images = images
        self.class_names = class_names
        self.image_size = image_size
        self.policy = policy
        self.augmentation = augmentation
        self.seed = seed
        self.text = text
        self.crop = FitSquare() if crop is None else crop
        self.max_bad = max_bad

    def __len__(self) -> int:
        return len(self.images)

    def record(self, index: int) -> Record:
        """What a caption policy may look at."""
        label = self.images.label(index)
        return Record(self.images.key(index), self.images.captions(index), self.class_names[label])

    def order(self, generator: torch.Generator) -> Tensor:
        """The pictures of an epoch in the order of training, (n,) int64."""
        return self.images.order(generator)

    def __getitem__(self, entry: Entry) -> Sample:
        return self._evaluated(entry) if self.augmentation is None else self._varied(entry)

    def _evaluated(self, entry: Entry) -> Sample:
        """The picture as it is; a bad one is black and does not count."""
        _, index, valid = entry
        record, bad = self.record(index), []
        try:
            image = self.crop(self.images.image(index), self.image_size)
        except BadImage as error:
            image = torch.zeros(3, self.image_size, self.image_size, dtype=torch.uint8)
            valid, bad = False, [error]
        return Sample(index, valid, record.key, image, self.policy.pick(record), self.images.label(index), bad)

    def _varied(self, entry: Entry) -> Sample:
        """The picture varied; the next readable one takes the place of a bad one."""
        epoch, index, valid = entry
        bad: list[BadImage] = []
        # The smallest crop shall have as many pixels as the sample.
        shorter_side = math.ceil(self.image_size / self.augmentation.min_crop)
        for here in ((index + step) % len(self) for step in range(min(self.max_bad, len(self) - 1) + 1)):
            try:
                image = self.images.training_image(here, shorter_side)
            except BadImage as error:
                bad.append(error)
                continue
            # Index + 1: the order of the epoch itself is drawn from (seed, epoch, 0).
            generator = seeded(self.seed, epoch, here + 1)
            record = self.record(here)
            caption = self.policy.pick(record, generator)
            image = augment(image, self.image_size, self.augmentation, generator, caption)
            return Sample(here, valid, record.key, image, caption, self.images.label(here), bad)
        # More in a row than are allowed: the loader, which counts them, stops the run.
        image = torch.zeros(3, self.image_size, self.image_size, dtype=torch.uint8)
        return Sample(index, False, self.images.key(index), image, "", self.images.label(index), bad)

    def read(self, samples: list[Sample]) -> Read:
        """Samples → what a worker hands over."""
        return Read(self.collate(samples), [bad for sample in samples for bad in sample.bad])

    def collate(self, samples: list[Sample]) -> Batch:
        """Samples → a batch, with text tokens where there is a cache."""
        batch = collate(samples)
        return batch if self.text is None else replace(batch, text=self.text(batch.caption))


def collate(samples: list[Sample]) -> Batch:
    """Samples → a batch with uint8 images (B, 3, H, W)."""
    return Batch(
        index=torch.tensor([s.index for s in samples]),
        valid=torch.tensor([s.valid for s in samples]),
        key=[s.key for s in samples],
        image=torch.stack([s.image for s in samples]),
        caption=[s.caption for s in samples],
        label=torch.tensor([s.label for s in samples]),
    )


def seeded(*numbers: int) -> torch.Generator:
    """A generator that depends on all of these numbers and on nothing else."""
    # A hash, for neighbouring seeds, epochs and indices must not give related numbers; 15 times as fast as NumPy's
    # SeedSequence, which counts where it is needed for each picture.
    digest = hashlib.blake2b(repr(numbers).encode(), digest_size=8).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest, "little"))

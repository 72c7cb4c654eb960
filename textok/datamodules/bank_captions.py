"""A datamodule's captions taken from a caption bank, with what to do where the bank has none."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from textok.datamodules.caption_bank import CaptionBank
from textok.datamodules.caption_files import stem
from textok.datamodules.dataset import CaptionedImages
from textok.datamodules.missing_captions import MissingCaption, RefuseImage

#: Epochs of the images that are looked through for the first one to keep.
MAX_ROUNDS = 100


@dataclass(frozen=True)
class Coverage:
    """How much of a set of images a bank covers.

    Args:
        images: Images of the set.
        covered: Those with a caption in the bank.
        first_missing: Key of the first without one.
        outcome: What becomes of those.
    """

    images: int
    covered: int
    first_missing: str | None
    outcome: str

    def __str__(self) -> str:
        text = f"{self.covered:,} of {self.images:,} images have a caption in the bank"
        if self.first_missing is None:
            return text
        return f"{text}, {self.images - self.covered:,} have none ({self.outcome}), the first is {self.first_missing!r}"


@dataclass(frozen=True)
class BankCaptions:
    """Captions from a bank instead of the dataset's own.

    Args:
        path: The bank's file.
        missing: What becomes of an image that the bank does not have; null refuses it.
        extend: Put the bank's captions before the dataset's own, which are kept.
        stem: The bank knows an image by its file's name alone, without folders and suffix.
    """

    path: Path
    missing: MissingCaption | None = None
    extend: bool = False
    stem: bool = False

    def attach(self, images: CaptionedImages, class_names: list[str], what: str) -> tuple[BankedImages, Coverage]:
        """The images with the bank's captions.

        Args:
            images: The images.
            class_names: The name of each label.
            what: What the set is called in a message.

        Raises:
            ValueError: If an image has no caption in the bank and must have one.
        """
        bank, missing = CaptionBank(self.path), self.missing or RefuseImage()
        keys = [images.key(i) for i in range(len(images))]
        numbers = bank.find([stem(key) for key in keys] if self.stem else keys)
        absent = np.flatnonzero(numbers < 0)
        first = keys[absent[0]] if len(absent) else None
        coverage = Coverage(len(keys), len(keys) - len(absent), first, missing.outcome)
        if len(absent) and missing.refuses:
            raise ValueError(
                f"{bank.path}: {coverage.covered:,} of {len(keys):,} {what} images have a caption in the bank, "
                f"{first!r} has none (the bank's first key is {bank.key(0)!r}): complete the bank, "
                "or set caption_bank.missing to SkipImage, OwnCaptions, NoCaption or TemplateForMissing"
            )
        kept = np.flatnonzero(numbers >= 0) if missing.skips else np.arange(len(keys))
        return BankedImages(images, class_names, bank, kept, numbers[kept], missing, self.extend), coverage


class BankedImages(CaptionedImages):
    """Images whose captions a bank has.

    Args:
        images: All images.
        class_names: The name of each label.
        bank: The bank.
        kept: (n,) the numbers of the images that are kept.
        numbers: (n,) their numbers in the bank, −1 where it does not have them.
        missing: What captions those get.
        extend: Keep the images' own captions behind the bank's.
    """

    def __init__(
        self,
        images: CaptionedImages,
        class_names: list[str],
        bank: CaptionBank,
        kept: np.ndarray,
        numbers: np.ndarray,
        missing: MissingCaption,
        extend: bool,
    ) -> None:
        self.images = images
        self.class_names = class_names
        self.bank = bank
        self._kept = kept
        self._numbers = numbers
        self.missing = missing
        self.extend = extend

    def __len__(self) -> int:
        return len(self._kept)

    def image(self, index: int) -> Tensor:
        return self.images.image(int(self._kept[index]))

    def captions(self, index: int) -> list[str]:
        inner, number = int(self._kept[index]), int(self._numbers[index])
        if number < 0:
            return self.missing.captions(self.images.captions(inner), self.class_names[self.images.label(inner)])
        captions = self.bank.at(number)
        return [*captions, *self.images.captions(inner)] if self.extend else captions

    def training_image(self, index: int, shorter_side: int) -> Tensor:
        return self.images.training_image(int(self._kept[index]), shorter_side)

    def skipped(self) -> dict[str, str]:
        return self.images.skipped()

    def order(self, generator: torch.Generator) -> Tensor:
        if len(self) == len(self.images):
            return self.images.order(generator)
        # The dataset's order, weights and shards included, without what is left out. Where sources have weights it need
        # not show each picture once, and what is kept of it may be shorter than an epoch: then it goes on.
        place = torch.full((len(self.images),), -1)
        place[torch.from_numpy(self._kept)] = torch.arange(len(self))
        order, rounds = torch.empty(0, dtype=torch.int64), 0
        while len(order) < len(self):
            if rounds == MAX_ROUNDS and not len(order):
                raise ValueError(
                    f"{self.bank.path} has captions for {len(self):,} of {len(self.images):,} images, all of them in "
                    "sources whose weights give them no place in an epoch: raise those weights, or caption the others"
                )
            places = place[self.images.order(generator)]
            order, rounds = torch.cat([order, places[places >= 0]]), rounds + 1
        return order[: len(self)]

    def label(self, index: int) -> int:
        return self.images.label(int(self._kept[index]))

    def key(self, index: int) -> str:
        return self.images.key(int(self._kept[index]))

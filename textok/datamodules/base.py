"""The base of textok's datamodules: a dataset goes in, loaders of ``Batch`` come out.

A subclass says where the pictures are (``load``). Which caption a picture gets, how it is varied, in which order it is
read and how it reaches the device is the same for all of them and lives here.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningDataModule
from lightning.pytorch.utilities import rank_zero_only

from textok.datamodules.bad_data import BadData, BadLedger
from textok.datamodules.bank_captions import BankCaptions, BankedImages, Coverage
from textok.datamodules.crops import EvalCrop, FitSquare
from textok.datamodules.dataset import CaptionedImages, Samples
from textok.datamodules.loader import FixedLoader, ResumableLoader, rank_and_world
from textok.datamodules.policies import CaptionPolicy, FirstCaption
from textok.datamodules.text_cache import CachedText, TextCache
from textok.datamodules.transforms import Augmentation
from textok.types import SPLIT_NAMES, Batch, Split, from_uint8


@dataclass(frozen=True)
class Splits:
    """What a datamodule serves.

    Args:
        train: Pictures to train on.
        held_out: Pictures for validation and test.
        class_names: The name of each label.
    """

    train: CaptionedImages
    held_out: CaptionedImages
    class_names: list[str]


class ImageDataModule(CachedText, LightningDataModule, ABC):
    """Captioned pictures for both stages.

    Making one is cheap: the disk is read in ``setup``.

    Args:
        image_size: Height and width of the samples in pixels.
        num_classes: Classes of the dataset.
        batch_size: Images of a training batch on one process.
        eval_batch_size: Images of an evaluation batch on one process; None takes ``batch_size``.
        num_workers: Worker processes of each loader; 0 reads in the main process.
        seed: Seed of order, augmentation and caption choice.
        augmentation: How training varies the pictures.
        caption_policy: Which caption an image gets; None takes the first.
        caption_bank: Captions from a bank instead of the dataset's own.
        text_cache: Folder that textok cache text wrote: batches bring text tokens and no encoder is loaded.
        crop: How evaluation makes a square of a picture; None takes the largest centred one.
        bad_data: What happens to pictures that cannot be read.
    """

    def __init__(
        self,
        image_size: int,
        num_classes: int,
        batch_size: int,
        eval_batch_size: int | None,
        num_workers: int,
        seed: int,
        augmentation: Augmentation,
        caption_policy: CaptionPolicy | None,
        caption_bank: BankCaptions | None = None,
        text_cache: Path | None = None,
        crop: EvalCrop | None = None,
        bad_data: BadData = BadData(),  # noqa: B008 - frozen
    ) -> None:
        super().__init__()
        sizes = {"image_size": image_size, "batch_size": batch_size, "eval_batch_size": eval_batch_size}
        for name, value in sizes.items():
            if value is not None and value <= 0:
                raise ValueError(f"{name} must be positive, got {value}")
        for name, value in {"num_classes": num_classes, "num_workers": num_workers, "seed": seed}.items():
            if value < 0:
                raise ValueError(f"{name} must not be negative, got {value}")
        self.image_size = image_size
        self.num_classes = num_classes
        self.batch_size = batch_size
        self.eval_batch_size = batch_size if eval_batch_size is None else eval_batch_size
        self.num_workers = num_workers
        self.seed = seed
        self.augmentation = augmentation
        self.caption_policy = FirstCaption() if caption_policy is None else caption_policy
        self.caption_bank = caption_bank
        self.text_cache_folder = text_cache
        #: How much of each split the caption bank covers.
        self.coverage: dict[str, Coverage] = {}
        self.crop = FitSquare() if crop is None else crop
        self.bad_data = bad_data
        #: The bad pictures of each split.
        self.ledgers: dict[Split, BadLedger] = {}
        self._splits: Splits | None = None

    @abstractmethod
    def load(self) -> Splits:
        """Read the dataset; called once, by ``setup``."""

    def setup(self, stage: str | None = None) -> None:
        """Load and check the dataset, whatever the stage; a second call does nothing.

        Raises:
            ValueError: If a split is empty, the number of classes is not ``num_classes``, or too many pictures are bad.
        """
        if self._splits is not None:
            return
        splits = self._with_bank(self.load())
        name = type(self).__name__
        for split, what in SPLIT_NAMES.items():
            images = getattr(splits, split)
            if len(images) == 0:
                raise ValueError(f"{name}: the {what} set is empty; check the paths and sizes of the data section")
        if len(splits.class_names) != self.num_classes:
            raise ValueError(
                f"{name}: num_classes is {self.num_classes}, but the data has {len(splits.class_names)} classes: "
                f"set data.init_args.num_classes to {len(splits.class_names)}"
            )
        self._splits = splits
        if self.text_cache_folder is not None:
            self.text_cache = TextCache(self.text_cache_folder)
            self.text_cache.check_captions(self.caption_identity())
        self._open_ledgers()

    def _with_bank(self, splits: Splits) -> Splits:
        """The splits with the captions of the bank, if there is one; tells how much of them it covers."""
        if self.caption_bank is None:
            return splits
        attached = {}
        for name, what in SPLIT_NAMES.items():
            images, coverage = self.caption_bank.attach(getattr(splits, name), splits.class_names, what)
            attached[name], self.coverage[name] = images, coverage
            _tell(f"{what}: {coverage}")
        return replace(splits, **attached)

    def teardown(self, stage: str) -> None:
        """Say how many pictures were bad, if any were."""
        for ledger in self.ledgers.values():
            if ledger.bad:
                print(ledger)

    def note_bad(self, trains: bool, key: str, reason: str) -> None:
        """Note a picture that something else than the loaders could not read.

        Raises:
            ValueError: If too many of the set are bad now.
        """
        self.ledgers["train" if trains else "held_out"].add(key, reason)

    def _open_ledgers(self) -> None:
        log = self.bad_data.log
        if log is None and self.trainer is not None:
            log = Path(self.trainer.default_root_dir) / "bad_images.tsv"
        for split, name in SPLIT_NAMES.items():
            images = self._images(split)
            skipped = images.skipped()
            ledger = self.ledgers[split] = BadLedger(name, len(images) + len(skipped), self.bad_data, log)
            if rank_and_world()[0] > 0:
                ledger.bad.update(skipped)  # every process lists the same; the first one tells
            for key, reason in skipped.items():
                ledger.add(key, reason)
            if skipped:
                ledger.check()

    @property
    def splits(self) -> Splits:
        """The loaded dataset."""
        if self._splits is None:
            raise RuntimeError(f"{type(self).__name__} is not loaded yet: call setup() first")
        return self._splits

    @property
    def class_names(self) -> list[str]:
        """The name of each label."""
        return self.splits.class_names

    @property
    def preprocessing(self) -> str:
        """What evaluation does to a picture: a reference that was measured with another cannot be compared with."""
        return f"{self.crop.description} to {self.image_size}x{self.image_size}"

    def identity(self, split: Split) -> dict[str, Any]:
        """What the images of a split are, down to the last pixel: the key of everything that is measured on them."""
        images = self._images(split)
        keys = "\n".join(images.key(i) for i in range(len(images)))
        return {
            "dataset": type(self).__name__,
            "split": SPLIT_NAMES[split],
            "preprocessing": self.preprocessing,
            "num_images": len(images),
            "keys_sha256": hashlib.sha256(keys.encode()).hexdigest(),
        }

    def caption_identity(self) -> dict[str, Any]:
        """What the captions that the policy can choose depend on: which images, which bank, which policy."""
        train = self.splits.train
        bank = train.bank.digest if isinstance(train, BankedImages) else None
        keys = {split: self.identity(split)["keys_sha256"] for split in ("train", "held_out")}
        return {"dataset": type(self).__name__, "keys": keys, "bank": bank, "policy": repr(self.caption_policy)}

    def prompts(self, split: Split) -> list[tuple[int, str]]:
        """Label and evaluation caption of every image of a split, without reading the images."""
        images, samples = self._images(split), self._samples(self._images(split))
        return [(images.label(i), self.caption_policy.pick(samples.record(i))) for i in range(len(images))]

    def class_captions(self) -> list[list[str]]:
        """Captions of each class that class-conditional sampling may draw from.

        They are those of the held-out pictures, unseen in training; a class without any takes the training set's.
        Each list holds what the caption policy can choose, without repetitions, and is empty where a class has no
        captions at all.
        """
        lists = self._captions_by_class(self.splits.held_out)
        if not all(lists):
            seen = self._captions_by_class(self.splits.train)
            lists = [mine or others for mine, others in zip(lists, seen)]
        return lists

    def training_captions(self) -> set[str]:
        """Every caption that a training image can get, without reading the images."""
        return {caption for captions in self._captions_by_class(self.splits.train) for caption in captions}

    def _captions_by_class(self, images: CaptionedImages) -> list[list[str]]:
        samples = self._samples(images)
        # Dictionaries, for their keys are unique and keep their order.
        lists: list[dict[str, None]] = [{} for _ in self.class_names]
        for index in range(len(images)):
            choices = self.caption_policy.choices(samples.record(index))
            lists[images.label(index)].update(dict.fromkeys(filter(None, choices)))
        return [list(captions) for captions in lists]

    def train_dataloader(self) -> ResumableLoader:
        """The training set in an order that depends on (seed, epoch), varied and sharded over ranks.

        Raises:
            ValueError: If the training set does not fill one batch on every rank.
        """
        samples = self._samples(self.splits.train, self.augmentation)
        return ResumableLoader(samples, self.batch_size, self.num_workers, self.seed, self.ledgers["train"])

    def val_dataloader(self) -> FixedLoader:
        """The held-out set in fixed order, sharded over ranks."""
        return self.fixed_loader("held_out")

    def test_dataloader(self) -> FixedLoader:
        """The held-out set in fixed order, sharded over ranks."""
        return self.fixed_loader("held_out")

    def predict_dataloader(self) -> FixedLoader:
        """The *training* set in fixed order without augmentation: what latent caches and the normaliser read."""
        return self.fixed_loader("train")

    def on_after_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:
        """Turn the images, uint8 until here to spare the bus, into floats in [−1, 1] of the model's own type."""
        if batch.image.dtype == torch.uint8:
            dtype = self.trainer.lightning_module.dtype if self.trainer is not None else torch.float32
            batch = replace(batch, image=from_uint8(batch.image, dtype))
        # Cached text tokens are as narrow as the cache until here, too.
        return batch if batch.text is None else replace(batch, text=batch.text.float())

    def fixed_loader(self, split: Split) -> FixedLoader:
        """A split as evaluation sees it, once each in fixed order, sharded over ranks."""
        samples = self._samples(self._images(split))
        return FixedLoader(samples, self.eval_batch_size, self.num_workers, self.ledgers[split])

    def _images(self, split: Split) -> CaptionedImages:
        return self.splits.train if split == "train" else self.splits.held_out

    def _samples(self, images: CaptionedImages, augmentation: Augmentation | None = None) -> Samples:
        return Samples(
            images,
            self.class_names,
            self.image_size,
            self.caption_policy,
            augmentation,
            self.seed,
            text=self.text_cache,
            crop=self.crop,
            max_bad=int(self.bad_data.max_share * len(images)),
        )


@rank_zero_only
def _tell(line: str) -> None:
    print(line, flush=True)

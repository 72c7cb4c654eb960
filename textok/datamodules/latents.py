"""Stage 2 from the disk: latents of the whole training set, encoded once by ``textok cache latents``.

An image has one entry for each of its captions and for its mirror image; an epoch shows each image once, by an entry
drawn from (seed, epoch, index), in the order in which the images themselves would come.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from lightning.pytorch import LightningDataModule

from textok.datamodules.latent_cache import CachedSamples, LatentCache
from textok.datamodules.loader import FixedLoader, ResumableLoader
from textok.datamodules.text_cache import CachedText, TextCache
from textok.storage import require_match
from textok.types import Batch, Split


class LatentsDataModule(CachedText, LightningDataModule):
    """Cached latents with their captions and labels for stage 2; no image is read and no tokenizer runs.

    Args:
        cache: Folder that ``textok cache latents`` wrote.
        image_size: Height and width of the images that were encoded.
        num_classes: Classes of the dataset.
        text_cache: Folder that ``textok cache text`` wrote; without one the module encodes captions where it needs
            them, if only to decode samples.
        text_in_batches: Put the text tokens into every batch, for a generator that reads them; one of classes alone
            does not.
        flip: Use the mirrored images, too, if the cache has them.
        batch_size: Samples of a training batch on one process.
        eval_batch_size: Samples of an evaluation batch on one process; None takes ``batch_size``.
        num_workers: Worker processes of each loader; the latents are mapped into memory, so 0 does well.
        seed: Seed of the order and of the choice among an image's entries.
    """

    def __init__(
        self,
        cache: Path,
        image_size: int,
        num_classes: int,
        text_cache: Path | None = None,
        text_in_batches: bool = False,
        flip: bool = True,
        batch_size: int = 64,
        eval_batch_size: int | None = None,
        num_workers: int = 0,
        seed: int = 0,
    ) -> None:
        super().__init__()
        for name, value in {"batch_size": batch_size, "eval_batch_size": eval_batch_size}.items():
            if value is not None and value <= 0:
                raise ValueError(f"{name} must be positive, got {value}")
        self.cache_folder = Path(cache).expanduser()
        self.image_size = image_size
        self.num_classes = num_classes
        if text_in_batches and text_cache is None:
            raise ValueError("text_in_batches is true, but there is no text_cache to take the text tokens from")
        self.text_cache_folder = text_cache
        self.text_in_batches = text_in_batches
        self.flip = flip
        self.batch_size = batch_size
        self.eval_batch_size = batch_size if eval_batch_size is None else eval_batch_size
        self.num_workers = num_workers
        self.seed = seed
        self._cache: LatentCache | None = None

    def setup(self, stage: str | None = None) -> None:
        """Open and check the caches; a second call does nothing.

        Raises:
            FileNotFoundError: If a cache is not there or not finished.
            ValueError: If one is damaged, or does not match the configuration or the other one.
        """
        if self._cache is not None:
            return
        cache = LatentCache(self.cache_folder)
        wanted = {"image_size": self.image_size, "num_classes": self.num_classes}
        require_match(f"the latents cache {cache.folder}", cache.identity, wanted, "Set them in data.init_args")
        if self.text_cache_folder is not None:
            self.text_cache = TextCache(self.text_cache_folder)
            self._check_text(cache, self.text_cache)
        self._cache = cache

    @staticmethod
    def _check_text(cache: LatentCache, text: TextCache) -> None:
        encoder = cache.identity["text_encoder"]
        if encoder is not None:
            text.check_encoder(encoder)
        numbers = text.captions.find(list(cache.captions))
        lost = np.flatnonzero(numbers < 0)
        if len(lost):
            raise ValueError(
                f"the text cache {text.folder} lacks {len(lost):,} of the {len(numbers):,} captions of the latents "
                f"cache {cache.folder}, the first is {cache.captions[int(lost[0])]!r}: make it again from the same data"
            )

    @property
    def cache(self) -> LatentCache:
        """The opened cache."""
        if self._cache is None:
            raise RuntimeError("LatentsDataModule is not loaded yet: call setup() first")
        return self._cache

    @property
    def class_names(self) -> list[str]:
        """The name of each label."""
        return [entry["name"] for entry in self.cache.classes]

    def class_captions(self) -> list[list[str]]:
        """Captions of each class that class-conditional sampling may draw from: those of the encoded data."""
        return [entry["captions"] for entry in self.cache.classes]

    def check_pair(self, weights_sha256: str) -> None:
        """Refuse the pair of another stage 1 than the one that encoded the images.

        Raises:
            ValueError: If the fingerprints of the weights differ.
        """
        require_match(
            f"the latents cache {self.cache.folder}",
            self.cache.identity["tokenizer"],
            {"weights_sha256": weights_sha256},
            f"Use the tokenizer_checkpoint it was made with ({self.cache.identity['tokenizer']['checkpoint']}), "
            "or make the cache again: textok cache latents",
        )

    def on_after_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:
        """Widen latents and text tokens, narrow until here to spare the bus, to float32."""
        return replace(batch, latents=batch.latents.float(), text=None if batch.text is None else batch.text.float())

    def train_dataloader(self) -> ResumableLoader:
        """The training set in an order that depends on (seed, epoch), sharded over ranks."""
        samples = CachedSamples(self.cache, "train", self._batch_text, self.flip, self.seed, shuffled=True)
        return ResumableLoader(samples, self.batch_size, self.num_workers, self.seed)

    def val_dataloader(self) -> FixedLoader:
        """The held-out set in fixed order, sharded over ranks."""
        return self._fixed("held_out")

    def test_dataloader(self) -> FixedLoader:
        """The held-out set in fixed order, sharded over ranks."""
        return self._fixed("held_out")

    def predict_dataloader(self) -> FixedLoader:
        """The training set in fixed order: the labels to sample for."""
        return self._fixed("train")

    def _fixed(self, split: Split) -> FixedLoader:
        samples = CachedSamples(self.cache, split, self._batch_text)
        return FixedLoader(samples, self.eval_batch_size, self.num_workers)

    @property
    def _batch_text(self) -> TextCache | None:
        return self.text_cache if self.text_in_batches else None

"""1,599 Fluent emoji with captions, packed into textok: real pictures for a first run without a download.

The sheet and its index are made by ``scripts/pack_emoji.py``, which also fixed the split: a tenth is held out by a hash
of the code points. Emoji come in families (24 clock faces, a man, a woman and a person of each trade), so the
neighbours of many held-out pictures are in the training set: the split measures what is new to the model, not what is
strange to it.
"""

from __future__ import annotations

import json
from importlib import resources
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from textok.datamodules.bank_captions import BankCaptions
from textok.datamodules.base import ImageDataModule, Splits
from textok.datamodules.dataset import CaptionedImages
from textok.datamodules.policies import CaptionPolicy
from textok.datamodules.transforms import Augmentation

PACKED_SIZE = 64


class EmojiDataModule(ImageDataModule):
    """Emoji on white; the caption names the emoji and what it belongs to, the label is the subcategory.

    The pictures are Microsoft's Fluent Emoji (MIT). 1,439 are trained on, 160 are held out. Training crops are cut
    from the packed 64 × 64 pixels and then reduced, so a crop is no less sharp than the whole picture.

    Args:
        image_size: Height and width of the samples in pixels, at most 64.
        num_classes: The 95 subcategories.
        batch_size: Images of a training batch on one process.
        eval_batch_size: Images of an evaluation batch on one process; None takes ``batch_size``.
        num_workers: Worker processes of each loader; the pictures are in memory, so 0 does well.
        seed: Seed of order, augmentation and caption choice.
        augmentation: How training varies the pictures.
        caption_policy: Which caption an image gets; None takes the first.
        caption_bank: Captions from a bank instead of the dataset's own.
        text_cache: Folder that textok cache text wrote: batches bring text tokens and no encoder is loaded.
    """

    def __init__(
        self,
        image_size: int = 32,
        num_classes: int = 95,
        batch_size: int = 64,
        eval_batch_size: int | None = None,
        num_workers: int = 0,
        seed: int = 0,
        augmentation: Augmentation = Augmentation(),  # noqa: B008 - frozen
        caption_policy: CaptionPolicy | None = None,
        caption_bank: BankCaptions | None = None,
        text_cache: Path | None = None,
    ) -> None:
        if image_size > PACKED_SIZE:
            raise ValueError(
                f"image_size is {image_size}, but the emoji are packed at {PACKED_SIZE} pixels: "
                f"choose at most {PACKED_SIZE}"
            )
        super().__init__(
            image_size,
            num_classes,
            batch_size,
            eval_batch_size,
            num_workers,
            seed,
            augmentation,
            caption_policy,
            caption_bank,
            text_cache,
        )

    def load(self) -> Splits:
        folder = resources.files("textok.datamodules") / "data" / "emoji"
        index = json.loads((folder / "emoji.json").read_text(encoding="utf-8"))
        with (folder / "emoji.webp").open("rb") as file:
            sheet = np.array(Image.open(file).convert("RGB"))
        pictures = _cut(sheet, index["columns"], index["size"], len(index["emoji"]))
        names = sorted(index["subcategories"])
        labels = {name: number for number, name in enumerate(names)}
        rows = [dict(zip(index["fields"], row)) for row in index["emoji"]]

        def split(held_out: int) -> Emoji:
            places = [place for place, row in enumerate(rows) if row["held_out"] == held_out]
            mine = [rows[place] for place in places]
            return Emoji(
                pictures[places],
                captions=[caption(row["name"], **index["subcategories"][row["subcategory"]]) for row in mine],
                labels=[labels[row["subcategory"]] for row in mine],
                keys=[row["codepoints"] for row in mine],
            )

        return Splits(split(0), split(1), names)


class Emoji(CaptionedImages):
    """Emoji in memory, one caption each.

    Args:
        pictures: uint8 (M, 3, 64, 64).
        captions: The caption of each.
        labels: The subcategory of each.
        keys: The code points of each, as in "1f468-200d-1f33e".
    """

    def __init__(self, pictures: Tensor, captions: list[str], labels: list[int], keys: list[str]) -> None:
        self._pictures = pictures
        self._captions = captions
        self._labels = labels
        self._keys = keys

    def __len__(self) -> int:
        return len(self._pictures)

    def image(self, index: int) -> Tensor:
        return self._pictures[index]

    def captions(self, index: int) -> list[str]:
        return [self._captions[index]]

    def label(self, index: int) -> int:
        return self._labels[index]

    def key(self, index: int) -> str:
        return self._keys[index]


def caption(name: str, category: str, phrase: str) -> str:
    """A caption from an emoji's entry: "garlic, a vegetable emoji, food and drink"."""
    article = "an" if phrase[0].lower() in "aeiou" else "a"
    return f"{name}, {article} {phrase} emoji, {category.replace('&', 'and')}".lower()


def _cut(sheet: np.ndarray, columns: int, size: int, count: int) -> Tensor:
    """A sheet (rows · S, columns · S, 3) → its first pictures (M, 3, S, S)."""
    grid = torch.from_numpy(sheet).unflatten(0, (-1, size)).unflatten(2, (columns, size))  # (rows, S, columns, S, 3)
    return grid.permute(0, 2, 4, 1, 3).flatten(0, 1)[:count].contiguous()

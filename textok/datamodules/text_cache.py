"""Text tokens from the disk: what ``textok cache text`` wrote, read by the exact caption.

A caption's tokens are stored once, without padding, in shards that are mapped into memory. Whoever trains on them needs
neither the text encoder's weights nor its time.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from textok.storage import Manifest, StringIndex, map_tensors, require_match
from textok.types import TextTokens

KIND = "text"
CAPTIONS = "captions.safetensors"


class TextCache:
    """Captions → text tokens, from a folder.

    Args:
        folder: The folder that ``textok cache text`` wrote.

    Raises:
        FileNotFoundError: If the cache is not there or not finished.
        ValueError: If it is damaged or of another version.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder).expanduser()
        self.manifest = Manifest.read(self.folder, KIND)
        self.manifest.check_files(self.folder)
        #: The text encoder that made it: its class, sizes, precision and its weights' checksum.
        self.encoder: dict[str, Any] = self.manifest.identity["text_encoder"]
        self.dtype: torch.dtype = getattr(torch, self.manifest.identity["dtype"])
        self.captions = StringIndex.read(map_tensors(self.folder / CAPTIONS)[0], "captions")
        self._shards: dict[int, tuple[Tensor, np.ndarray]] = {}

    def __reduce__(self):
        return TextCache, (self.folder,)  # a worker that is spawned maps the files again

    def __len__(self) -> int:
        """Number of captions, "" among them."""
        return len(self.captions)

    def check_encoder(self, identity: dict[str, Any]) -> None:
        """Refuse another text encoder than the one that made the cache.

        Raises:
            ValueError: With every field that differs.
        """
        require_match(
            f"the text cache {self.folder}", self.encoder, identity, "Use its text encoder, or make another cache"
        )

    def check_captions(self, identity: dict[str, Any]) -> None:
        """Refuse other images, another bank or another caption policy than the cache was made for.

        Raises:
            ValueError: With every field that differs.
        """
        require_match(
            f"the text cache {self.folder}",
            self.manifest.identity["captions"],
            identity,
            "Make the cache again with this data section: textok cache text",
        )

    def __call__(self, captions: list[str]) -> TextTokens:
        """Tokens (B, L, E) in the cache's precision and their mask.

        Raises:
            ValueError: If a caption is not in the cache.
        """
        text = self.find(captions)
        if text is None:
            lost = next(caption for caption in captions if caption not in self.captions)
            raise ValueError(f"the text cache {self.folder} does not have the caption {lost!r}: make it again")
        return text

    def find(self, captions: list[str]) -> TextTokens | None:
        """As calling it, but None if a caption is not in the cache."""
        numbers = self.captions.find(captions)
        if (numbers < 0).any():
            return None
        length, dim = self.encoder["num_tokens"], self.encoder["dim"]
        tokens = torch.zeros(len(captions), length, dim, dtype=self.dtype)
        mask = torch.zeros(len(captions), length, dtype=torch.bool)
        for row, number in enumerate(numbers.tolist()):
            shard, place = divmod(number, self.manifest.shard_size)
            data, borders = self._shard(shard)
            begin, end = borders[place], borders[place + 1]
            tokens[row, : end - begin] = data[begin:end]
            mask[row, : end - begin] = True
        return TextTokens(tokens, mask)

    def _shard(self, number: int) -> tuple[Tensor, np.ndarray]:
        """The tokens (T, E) of a shard and the (n + 1,) borders between captions, both mapped."""
        if number not in self._shards:
            tensors, _ = map_tensors(self.folder / self.manifest.shards[number].file)
            self._shards[number] = tensors["tokens"], tensors["borders"].numpy()
        return self._shards[number]


class CachedText:
    """The part of a datamodule that serves text tokens from a cache, if it has one (``types.ServesText``)."""

    #: Opened by ``setup``.
    text_cache: TextCache | None = None

    @property
    def brings_text(self) -> bool:
        """Whether batches hold text tokens from a cache."""
        return self.text_cache is not None

    def check_encoder(self, identity: dict[str, Any]) -> None:
        """Refuse a text encoder that the text cache was not made with."""
        if self.text_cache is not None:
            self.text_cache.check_encoder(identity)

    def text_tokens(self, captions: list[str]) -> TextTokens | None:
        """Text tokens from the cache; None where it does not have them all."""
        text = None if self.text_cache is None else self.text_cache.find(captions)
        return None if text is None else text.float()

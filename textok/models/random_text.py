"""A text encoder that knows words apart and nothing about them: what a trained one is compared with."""

from __future__ import annotations

import re
import zlib
from typing import Any, Literal

import torch
from torch import Tensor, nn

from textok.models.text_encoder import TextEncoder


class RandomTextEncoder(TextEncoder):
    """Each word has a random vector of its own, the same in every caption: identity and order, no meaning.

    Beside a trained encoder it tells how much of a gain is knowledge of language, and how much only that the caption
    names the picture. Needs no weights. Words that share a row of the table, few at the default size, are one word.

    Args:
        dim: Width E of the text tokens.
        num_tokens: Length L to which captions are padded; a longer one is cut, counted and reported once.
        num_words: Rows of the table.
        seed: Seed of the table.
        std: σ of its entries; the default is that of MiniLM's tokens.
        dtype: Precision of the text tokens.
        chunk_size: Captions that are looked up at once.
        cache_mib: Memory in MiB for the tokens of captions met before; 0 switches the cache off.
        normalize: Give each token zero mean and unit variance over its E values.
    """

    def __init__(
        self,
        dim: int = 384,
        num_tokens: int = 128,
        num_words: int = 65536,
        seed: int = 0,
        std: float = 0.36,
        dtype: Literal["float32", "bfloat16"] = "float32",
        chunk_size: int = 8,
        cache_mib: int = 512,
        normalize: bool = False,
    ) -> None:
        if num_words < 2:
            raise ValueError(f"num_words must be at least 2, got {num_words}")
        if not std > 0:
            raise ValueError(f"std must be positive, got {std}")
        super().__init__(dim, num_tokens, dtype, chunk_size, cache_mib, normalize)
        self.num_words, self.seed, self.std = num_words, seed, std

    @property
    def identity(self) -> dict[str, Any]:
        return super().identity | {"num_words": self.num_words, "seed": self.seed, "std": self.std}

    def read(self) -> nn.Module:
        table = torch.randn(self.num_words, self.dim, generator=torch.Generator().manual_seed(self.seed)) * self.std
        return nn.Embedding.from_pretrained(table.to(self.dtype))

    def token_ids(self, caption: str) -> tuple[list[int], int]:
        # A checksum and not Python's hash, which differs from process to process.
        words = re.findall(r"\w+|[^\w\s]", caption.lower())
        ids = [zlib.crc32(word.encode()) % self.num_words for word in words]
        return ids[: self.num_tokens], len(ids)

    def hidden_states(self, ids: Tensor, mask: Tensor) -> Tensor:
        return self.network(ids)

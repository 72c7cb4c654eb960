"""Captions → text tokens by a frozen network: the part that every text encoder shares.

A caption's tokens are a function of the caption alone, bit for bit: neither the captions beside it in the batch nor
what was encoded before can change them, so a resumed run sees what an uninterrupted one would.
"""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any, Literal

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.functional import layer_norm

from textok.frozen.base import Frozen
from textok.models.caption_cache import CaptionCache
from textok.types import TextTokens


class TextEncoder(Frozen, ABC):
    """Base of all text encoders: a frozen network, its text tokenizer, a fixed length and a cache.

    A subclass implements ``read``, ``token_ids`` and ``hidden_states``. Building one reads no weights and needs no
    network; ``load`` reads them. Not meant to be compiled: it works on strings.

    Args:
        dim: Width E of the text tokens.
        num_tokens: Length L to which captions are padded; a longer one is cut, counted and reported once.
        dtype: Precision of the weights and of the computation, whatever autocast surrounds it: a caption's tokens must
            be the same in training, in validation and from the cache.
        chunk_size: Captions that go through the network at once. The network always sees this many, because the
            kernels chosen for another shape round differently; 1 spares a CPU the work on fillers.
        cache_mib: Memory in MiB for the tokens of captions met before; 0 switches the cache off, which is right
            where captions hardly repeat. A little less than all captions take is much too little: every epoch asks
            for each once, in another order.
        normalize: Give each token zero mean and unit variance over its E values, a layer norm without parameters:
            encoders differ in the size of what they give (a value of MiniLM's has a σ of 0.36).
    """

    #: Token id at padded positions.
    pad_id: int = 0
    #: Processes that the weights are spread over; each of them has to call the encoder as often as the others, with
    #: whatever captions. None where the weights are whole.
    group: dist.ProcessGroup | None = None

    def __init__(
        self,
        dim: int,
        num_tokens: int = 128,
        dtype: Literal["float32", "bfloat16"] = "float32",
        chunk_size: int = 8,
        cache_mib: int = 512,
        normalize: bool = False,
    ) -> None:
        super().__init__()
        for argument, value in (("dim", dim), ("num_tokens", num_tokens), ("chunk_size", chunk_size)):
            if value < 1:
                raise ValueError(f"{argument} of a text encoder must be at least 1, got {value}")
        if dtype not in ("float32", "bfloat16"):
            raise ValueError(f"dtype of a text encoder must be float32 or bfloat16, got {dtype!r}")
        self.dim = dim
        self.num_tokens = num_tokens
        self.dtype: torch.dtype = getattr(torch, dtype)
        self.chunk_size = chunk_size
        self.normalize = normalize
        self.cache = CaptionCache(cache_mib)
        self._num_truncated = 0

    # ---------------------------------------------------------------- for a subclass

    @abstractmethod
    def read(self) -> nn.Module:
        """Read the weights, in ``self.dtype`` and on the CPU; called once, by ``load``."""

    @abstractmethod
    def token_ids(self, caption: str) -> tuple[list[int], int]:
        """The ids of a caption, cut to ``num_tokens``, and the number of ids it has uncut."""

    @abstractmethod
    def hidden_states(self, ids: Tensor, mask: Tensor) -> Tensor:
        """(B, L) ids and their (B, L) mask → (B, L, E); a row must depend on its own unmasked ids alone."""

    # ---------------------------------------------------------------- for everyone

    @property
    def identity(self) -> dict[str, Any]:
        """What its text tokens depend on, as far as it is known without the weights."""
        identity = {
            "class": type(self).__name__,
            "num_tokens": self.num_tokens,
            "dim": self.dim,
            "dtype": str(self.dtype).removeprefix("torch."),
        }
        # Told only where it is on: caches from before there was a choice are what they were.
        return identity | {"normalize": True} if self.normalize else identity

    @property
    def num_truncated(self) -> int:
        """Captions that were cut when they were encoded; one that the cache forgot counts again."""
        return self._num_truncated

    def load(self, device: torch.device | str | None = None) -> None:
        """Read the weights; a second call reads nothing.

        Args:
            device: Where to put the encoder. By default it stays on the CPU until the next ``.to(device)`` of the
                encoder or of a module that holds it.

        Raises:
            ValueError: If the weights cannot be read.
        """
        if not self.is_loaded:
            with torch.device("cpu"):  # real weights, even where the model around is built on the meta device
                self.network = self.read()
        if device is not None:
            self.to(device)

    # Not in inference mode, where a validation may be: shards keep the buffers of their first pass, and those made in
    # that mode could not be filled again outside of it.
    @torch.inference_mode(False)
    @torch.no_grad()
    def forward(self, captions: list[str]) -> TextTokens:
        """Captions → (B, L, E) float32 tokens and their mask on the encoder's device; "" has no token.

        The tokens are float32 whatever ``dtype`` is: a model in float32 can read them, and under autocast its first
        layer casts them back without a loss.
        """
        device = next(self.network.parameters()).device
        distinct = [caption for caption in dict.fromkeys(captions) if caption]
        found = {caption: self.cache.get(caption) for caption in distinct}
        old = [caption for caption in distinct if found[caption] is not None]
        new = [caption for caption in distinct if found[caption] is None]

        nothing = torch.zeros(1, self.num_tokens, self.dim, dtype=self.dtype, device=device)
        recalled = self._padded([found[caption] for caption in old], device)
        encoded, lengths = self._encode(new, device)
        table = torch.cat([nothing, recalled, encoded])  # (1 + distinct, L, E)
        lengths = [0, *(len(found[caption]) for caption in old), *lengths]
        row = {caption: i for i, caption in enumerate(["", *old, *new])}
        rows = torch.tensor([row[caption] for caption in captions], dtype=torch.long)
        mask = self._mask(lengths)[rows].to(device)
        return TextTokens(table[rows.to(device)].float(), mask)

    def _encode(self, captions: list[str], device: torch.device) -> tuple[Tensor, list[int]]:
        """Captions → (B, L, E) tokens, zero at the padding, and the captions' lengths; fills the cache."""
        num_chunks = self._num_chunks(len(captions), device)
        if num_chunks == 0:
            return torch.empty(0, self.num_tokens, self.dim, dtype=self.dtype, device=device), []
        ids_of = [self._cut_ids(caption) for caption in captions]
        lengths = [len(ids) for ids in ids_of]
        # Fillers: the network sees one shape only, and its shards whole chunks of them where others have more to do.
        filler = ids_of[-1] if ids_of else [self.pad_id]
        ids_of += [filler] * (num_chunks * self.chunk_size - len(ids_of))
        ids = torch.full((len(ids_of), self.num_tokens), self.pad_id, dtype=torch.long)
        for i, row in enumerate(ids_of):
            ids[i, : len(row)] = torch.tensor(row, dtype=torch.long)
        ids, mask = ids.to(device), self._mask([len(row) for row in ids_of]).to(device)

        with torch.autocast(device.type, enabled=False):
            chunks = zip(ids.split(self.chunk_size), mask.split(self.chunk_size))
            states = torch.cat([self._states(*chunk) for chunk in chunks])
        # Filled, not multiplied: a caption without a single token may come out as NaN.
        tokens = states.masked_fill(~mask[..., None], 0)[: len(captions)]

        if self.cache.capacity:
            on_cpu = tokens.cpu()  # one wait for the device, after the last chunk
            for caption, row, length in zip(captions, on_cpu, lengths):
                self.cache.put(caption, row[:length])
        return tokens, lengths

    def _states(self, ids: Tensor, mask: Tensor) -> Tensor:
        """(B, L) ids and mask → (B, L, E) in ``self.dtype``; statistics of the norm are float32."""
        states = self.hidden_states(ids, mask)
        if self.normalize:
            states = layer_norm(states.float(), states.shape[-1:])
        return states.to(self.dtype)

    def _num_chunks(self, num_captions: int, device: torch.device) -> int:
        """Chunks that go through the network: what these captions take, or of sharded weights what any process's do."""
        num_chunks = -(-num_captions // self.chunk_size)
        if self.group is None:
            return num_chunks
        # Processes differ in what is empty, repeated or known; one that runs a sharded network alone waits for ever.
        most = torch.tensor(num_chunks, device=device)
        dist.all_reduce(most, dist.ReduceOp.MAX, self.group)
        return int(most)

    def _padded(self, entries: list[Tensor], device: torch.device) -> Tensor:
        """Unpadded (n, E) tokens of the cache → (B, L, E) on the device."""
        shape = (len(entries), self.num_tokens, self.dim)
        padded = torch.zeros(shape, dtype=self.dtype, pin_memory=device.type == "cuda")
        for row, entry in zip(padded, entries):
            row[: len(entry)] = entry
        return padded.to(device, non_blocking=True)

    def _mask(self, lengths: list[int]) -> Tensor:
        return torch.arange(self.num_tokens) < torch.tensor(lengths)[:, None]  # (B, L)

    def _cut_ids(self, caption: str) -> list[int]:
        ids, length = self.token_ids(caption)
        if length > self.num_tokens:
            if self._num_truncated == 0:
                warnings.warn(
                    f"a caption of {length} text tokens was cut to num_tokens={self.num_tokens}: {caption[:60]!r}…; "
                    "further ones are cut without a word and counted",
                    stacklevel=2,
                )
            self._num_truncated += 1
        return ids


def blocks_of(network: nn.Module) -> Iterator[nn.Module]:
    """The transformer blocks of anybody's network: what its outermost lists hold."""
    for child in network.children():
        yield from child.children() if isinstance(child, nn.ModuleList) else blocks_of(child)

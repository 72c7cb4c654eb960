"""The words every part of textok shares: what a batch, text tokens, a context and a request are.

Shape legend, used in every docstring of the project:

    B  images in a batch          H, W  image height and width      N  patch tokens of an image
    K  latent tokens of an image  Z     channels of a latent token  L  text tokens of a caption
    D  width of a transformer     E     width of the text encoder   J  tokens that join a sequence
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol, runtime_checkable

import torch
from torch import Tensor


@dataclass(frozen=True)
class Sizes:
    """What the data and the text encoder dictate to a model; everything else is a choice of the configuration.

    A parent hands these to the factories it receives, so no number is written twice in a configuration.

    Args:
        image_size: Height and width of an image in pixels.
        num_classes: Classes of the dataset; labels are ``0 … num_classes - 1``. Zero where there are none.
        text_dim: Width E of the text encoder's tokens. Zero where there is no text encoder.
        num_text_tokens: Length L to which captions are padded.
    """

    image_size: int
    num_classes: int = 0
    text_dim: int = 0
    num_text_tokens: int = 0

    def __post_init__(self) -> None:
        if self.image_size <= 0:
            raise ValueError(f"image_size must be positive, got {self.image_size}")
        for name in ("num_classes", "text_dim", "num_text_tokens"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative, got {getattr(self, name)}")


@dataclass
class TextTokens:
    """Captions after the text encoder, padded to a fixed length.

    An empty caption means "no caption": all of its positions are masked.

    Args:
        tokens: (B, L, E) float; zeros at padded positions.
        mask: (B, L) bool; True at the tokens of the caption, False at padding.
    """

    tokens: Tensor
    mask: Tensor

    def __len__(self) -> int:
        return self.tokens.shape[0]

    def __getitem__(self, rows: slice | Tensor | list[int]) -> TextTokens:
        return TextTokens(self.tokens[rows], self.mask[rows])

    @property
    def present(self) -> Tensor:
        """(B,) bool; False where the caption was empty."""
        return self.mask.any(dim=1)

    def without(self, rows: Tensor) -> TextTokens:
        """The same captions, but none where ``rows``, (B,) bool, is True."""
        return TextTokens(self.tokens, self.mask & ~rows[:, None])

    def to(self, device: torch.device | str) -> TextTokens:
        return TextTokens(self.tokens.to(device), self.mask.to(device))

    def float(self) -> TextTokens:
        """The same tokens in float32, as text encoders give them."""
        return TextTokens(self.tokens.float(), self.mask)

    @staticmethod
    def cat(parts: list[TextTokens]) -> TextTokens:
        return TextTokens(torch.cat([p.tokens for p in parts]), torch.cat([p.mask for p in parts]))


@dataclass
class Context:
    """What a conditioning strategy hands to a transformer; each field is used by the blocks that know it.

    Args:
        extra: (B, J, D) tokens that join the self-attention sequence.
        extra_mask: (B, J) bool; False at the joined tokens that nobody may attend to.
        memory: (B, L, D) tokens for cross-attention.
        memory_mask: (B, L) bool; False at the memory's padding.
        vector: (B, D) for adaptive layer norm.
    """

    extra: Tensor | None = None
    extra_mask: Tensor | None = None
    memory: Tensor | None = None
    memory_mask: Tensor | None = None
    vector: Tensor | None = None


@dataclass
class Condition:
    """What a generator is asked for.

    Args:
        label: (B,) int64 class labels, or None for a generator without classes.
        text: Text tokens of the captions, or None for a generator without text.
        drop: (B,) bool; True where the generator shall use its learned null instead (label dropout in training, the
            unconditional branch of classifier-free guidance in sampling). None drops nothing.
    """

    label: Tensor | None = None
    text: TextTokens | None = None
    drop: Tensor | None = None

    def __len__(self) -> int:
        for field in (self.label, self.text, self.drop):
            if field is not None:
                return len(field)
        raise ValueError("an empty Condition has no length: it holds neither labels nor text")

    def guided_pair(self) -> Condition:
        """The condition and its dropped twin in one batch of 2B rows, for classifier-free guidance in one forward."""
        device = self.label.device if self.label is not None else self.text.mask.device
        kept = self.drop if self.drop is not None else torch.zeros(len(self), dtype=torch.bool, device=device)
        return Condition(
            label=None if self.label is None else torch.cat([self.label, self.label]),
            text=None if self.text is None else TextTokens.cat([self.text, self.text]),
            drop=torch.cat([kept, torch.ones_like(kept)]),
        )


@dataclass
class Batch:
    """One batch of any datamodule.

    Args:
        index: (B,) int64; the position of each sample in its dataset.
        valid: (B,) bool; False for a sample that only pads a short batch or rank, to be left out of every metric.
        key: The stable name of each sample.
        image: (B, 3, H, W); uint8 on the way, float in [−1, 1] once on the device. H = W = 0 beside latents from
            a cache, which come without pixels.
        caption: One caption a sample; "" means no caption.
        label: (B,) int64 class labels.
        text: Text tokens from a cache; None where the module encodes the captions.
        latents: (B, K, Z) from a cache; None where the module encodes the images.
    """

    index: Tensor
    valid: Tensor
    key: list[str]
    image: Tensor
    caption: list[str]
    label: Tensor
    text: TextTokens | None = None
    latents: Tensor | None = None

    def __len__(self) -> int:
        return self.index.shape[0]

    def pin_memory(self) -> Batch:
        """The batch in page-locked memory; torch's loader calls this where there is a GPU."""
        fields = {"index": self.index, "valid": self.valid, "image": self.image, "label": self.label}
        fields |= {"latents": self.latents} if self.latents is not None else {}
        pinned = {name: value.pin_memory() for name, value in fields.items()}
        if self.text is not None:
            pinned["text"] = TextTokens(self.text.tokens.pin_memory(), self.text.mask.pin_memory())
        return replace(self, **pinned)


@dataclass(frozen=True)
class Request:
    """One picture to be generated; the result depends on these fields alone, never on the batch it is made in.

    Args:
        index: Number of the sample; with the seed it fixes the noise.
        label: Class to generate; None names no class.
        caption: Caption for the detokenizer (and a text-conditioned generator); None draws one of the class's captions.
        seed: Seed of the noise and of the caption that is drawn.
    """

    index: int
    label: int | None = 0
    caption: str | None = None
    seed: int = 0


#: Exit code of a run that a batch system's signal ended at a whole step: put the same command back into the queue
#: (EX_TEMPFAIL of sysexits.h, "try again later").
EXIT_REQUEUE = 75
#: Exit code of a run whose updates were not finite several times in a row; the same command goes on past their batches.
EXIT_DIVERGED = 76
#: Exit code of a command that lost one of its processes: a worker of a loader, another rank, or a rank that hangs.
EXIT_LOST = 77
#: Exit code of a run that Ctrl-C ended, as every shell has it (128 + SIGINT).
EXIT_INTERRUPTED = 130


class RunEnded(Exception):
    """A run that ended before its last step and knows why; the same command goes on with it.

    Args:
        message: What happened, and what to do.
        exit_code: The process's.
    """

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


@runtime_checkable
class Reconstructs(Protocol):
    """A model that can encode and decode pictures: stage 1, and stage 2 through its frozen pair."""

    def reconstruct(self, images: Tensor, captions: list[str], labels: Tensor | None = None) -> Tensor:
        """Encode and decode (B, 3, H, W) images in [−1, 1] with their captions; the result has the same shape."""
        ...


@runtime_checkable
class Generates(Protocol):
    """A model that can make pictures from requests: stage 2."""

    def generate(self, requests: list[Request]) -> Tensor:
        """Make one picture a request: (B, 3, H, W) in about [−1, 1]."""
        ...


#: The two halves of a dataset: what is trained on, and what is measured on.
Split = Literal["train", "held_out"]
#: What people call them.
SPLIT_NAMES: dict[Split, str] = {"train": "training", "held_out": "held-out"}


class BatchLoader(Protocol):
    """Batches that can be counted and iterated again."""

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[Batch]: ...


@runtime_checkable
class ServesImages(Protocol):
    """A datamodule whose images can be measured; one that serves cached latents cannot."""

    def identity(self, split: Split) -> dict[str, Any]:
        """What the images of a split are, down to the last pixel: the key of everything that is measured on them."""
        ...

    def fixed_loader(self, split: Split) -> BatchLoader:
        """The images of a split as evaluation sees them, once each, in fixed order, sharded over ranks."""
        ...

    def prompts(self, split: Split) -> list[tuple[int, str]]:
        """Label and evaluation caption of every image of a split, without reading the images."""
        ...


@runtime_checkable
class ServesCaptions(Protocol):
    """A datamodule that knows the captions of its training images."""

    def training_captions(self) -> set[str]:
        """Every caption that a training image can get."""
        ...


@runtime_checkable
class ServesText(Protocol):
    """A datamodule that may have text tokens of its captions, so that no text encoder has to be loaded."""

    @property
    def brings_text(self) -> bool:
        """Whether its batches hold text tokens."""
        ...

    def check_encoder(self, identity: dict[str, Any]) -> None:
        """Raise a ValueError if the text tokens are another text encoder's."""
        ...

    def text_tokens(self, captions: list[str]) -> TextTokens | None:
        """Text tokens of captions; None where it does not have them all."""
        ...


@runtime_checkable
class ServesLatents(Protocol):
    """A datamodule whose batches hold latents that a pair made before."""

    def check_pair(self, weights_sha256: str) -> None:
        """Raise a ValueError if the latents are another pair's, given the fingerprint of this pair's weights."""
        ...


def to_uint8(images: Tensor) -> Tensor:
    """Float images in [−1, 1] → uint8, rounded to the nearest level and clamped; the only such rule in textok.

    Rounding half up, ``floor(127.5 x + 128)``, is the convention of DiT, SiT and LlamaGen.
    """
    return (images.float() * 127.5 + 128.0).floor_().clamp_(0, 255).to(torch.uint8)


def from_uint8(images: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    """Uint8 images → float in [−1, 1]; ``to_uint8`` gives the same bytes back."""
    return images.to(dtype) / 127.5 - 1.0


def mix_seed(*parts: int) -> int:
    """A 63-bit seed from several numbers, such that neighbours do not share streams (splitmix64's finaliser)."""
    state = 0
    for part in parts:
        state = (state + part + 0x9E3779B97F4A7C15) & 0xFFFFFFFFFFFFFFFF
        state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & 0xFFFFFFFFFFFFFFFF
        state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & 0xFFFFFFFFFFFFFFFF
        state ^= state >> 31
    return state >> 1

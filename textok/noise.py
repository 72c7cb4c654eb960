"""Noise that belongs to the pictures of a step and not to the processes that happen to hold them.

All processes draw for the whole batch of a step from generators seeded alike, and keep their own rows: two processes
with a batch each, two micro-batches, or one process with the doubled batch then see the same noise for the same
picture. What is drawn for others is thrown away; it is little beside a forward of the same pictures.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import Generator, Tensor


@dataclass
class _Rows:
    """The rows of a step's batch that are being computed, and a generator for each device that draws for them."""

    first: int
    count: int
    total: int
    seed: int
    generators: dict[torch.device, Generator] = field(default_factory=dict)

    def generator(self, device: torch.device) -> Generator:
        if device not in self.generators:
            self.generators[device] = Generator(device).manual_seed(self.seed)
        return self.generators[device]


#: None where a batch stands for itself.
_mine: _Rows | None = None


@contextmanager
def rows_of(first: int, count: int, total: int, seed: int) -> Iterator[None]:
    """Inside, noise is drawn for ``total`` rows, of which ``count`` from ``first`` on are this batch's.

    Args:
        first: Number of this batch's first row in the batch of the step.
        count: Rows of this batch.
        total: Rows of the step, over all processes and micro-batches.
        seed: Of the step, the same for all of its parts.
    """
    global _mine
    before, _mine = _mine, _Rows(first, count, total, seed)
    try:
        yield
    finally:
        _mine = before


def draw(x: Tensor, sample: Callable[[int, Generator | None], Tensor]) -> Tensor:
    """Noise for a batch, from torch's global generator outside of :func:`rows_of`.

    Args:
        x: The batch (B, …), on the device that the noise is for.
        sample: Draws for as many rows as it is told, from the generator it is given: (n, …).

    Returns:
        (B, …).
    """
    if _mine is None:
        return sample(len(x), None)
    assert len(x) == _mine.count, f"noise for {len(x)} rows in a batch of {_mine.count}"
    return sample(_mine.total, _mine.generator(x.device))[_mine.first : _mine.first + _mine.count]


def normal_like(x: Tensor) -> Tensor:
    """Standard normal noise of the shape (B, …), type and device of a tensor."""
    return draw(x, lambda n, g: torch.randn(n, *x.shape[1:], dtype=x.dtype, device=x.device, generator=g))


def uniform_rows(x: Tensor) -> Tensor:
    """(B,) uniform in [0, 1), for a batch (B, …) and on its device."""
    return draw(x, lambda n, g: torch.rand(n, device=x.device, generator=g))


def normal_rows(x: Tensor) -> Tensor:
    """(B,) standard normal, for a batch (B, …) and on its device."""
    return draw(x, lambda n, g: torch.randn(n, device=x.device, generator=g))


def integer_rows(high: int, x: Tensor) -> Tensor:
    """(B,) int64 in [0, high), for a batch (B, …) and on its device."""
    return draw(x, lambda n, g: torch.randint(high, (n,), device=x.device, generator=g))

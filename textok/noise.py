"""Noise that belongs to the pictures of a step and not to the processes that happen to hold them.

All processes seed torch's generator alike, draw for the whole batch of a step, and keep their own rows: two processes
with a batch each, two micro-batches, or one process with the doubled batch then see the same noise for the same
picture. What is drawn for others is thrown away; it is little beside a forward of the same pictures.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

#: (first, count, total): the rows of the step's batch that are being computed; None where a batch stands for itself.
_mine: tuple[int, int, int] | None = None


@contextmanager
def rows_of(first: int, count: int, total: int) -> Iterator[None]:
    """Inside, noise is drawn for ``total`` rows, of which ``count`` from ``first`` on are this batch's."""
    global _mine
    before, _mine = _mine, (first, count, total)
    try:
        yield
    finally:
        _mine = before


def draw(rows: int, sample: Callable[[int], Tensor]) -> Tensor:
    """Noise for a batch of ``rows``.

    Args:
        rows: Rows of the batch.
        sample: Draws for as many rows as it is told, from torch's global generator: (n, …).

    Returns:
        (rows, …).
    """
    if _mine is None:
        return sample(rows)
    first, count, total = _mine
    assert rows == count, f"noise for {rows} rows in a batch of {count}"
    return sample(total)[first : first + count]


def normal_like(x: Tensor) -> Tensor:
    """Standard normal noise of the shape (B, …), type and device of a tensor."""
    return draw(len(x), lambda n: torch.randn(n, *x.shape[1:], dtype=x.dtype, device=x.device))


def uniform_rows(x: Tensor) -> Tensor:
    """(B,) uniform in [0, 1), for a batch (B, …) and on its device."""
    return draw(len(x), lambda n: torch.rand(n, device=x.device))


def normal_rows(x: Tensor) -> Tensor:
    """(B,) standard normal, for a batch (B, …) and on its device."""
    return draw(len(x), lambda n: torch.randn(n, device=x.device))


def integer_rows(high: int, x: Tensor) -> Tensor:
    """(B,) int64 in [0, high), for a batch (B, …) and on its device."""
    return draw(len(x), lambda n: torch.randint(high, (n,), device=x.device))

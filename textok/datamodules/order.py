"""The order of an epoch over several sources: mixed by weight, and kind to disks where pictures share files."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from textok.datamodules.blobs import KEPT_GROUPS


def shuffled(count: int, shards: Tensor | None, generator: torch.Generator) -> Tensor:
    """Each picture of a source once.

    Pictures that share files come from a few files at a time, mixed: what lies together is read together.

    Args:
        count: Number n of pictures.
        shards: (n,) which file each lies in; None where each has its own.
        generator: Source of chance.

    Returns:
        (n,) a permutation.
    """
    order = torch.randperm(count, generator=generator)
    if shards is None:
        return order
    num_shards = int(shards.max()) + 1
    # Shards in a random order, cut into windows; the sort is stable: inside of a window the order stays random.
    window = torch.randperm(num_shards, generator=generator) // KEPT_GROUPS
    return order[torch.sort(window[shards[order]], stable=True).indices]


def mixed(
    counts: Sequence[int],
    weights: Sequence[float] | None,
    shards: Sequence[Tensor | None],
    generator: torch.Generator,
) -> Tensor:
    """An epoch over several sources, as long as they are together.

    Args:
        counts: Pictures of each source, which are numbered one source after the other.
        weights: What part of the epoch each source gets, up to a factor; None shows each picture once. A source with
            more places than pictures is gone through several times, one with fewer gets a new choice each epoch.
        shards: The shards of each source as in ``shuffled``.
        generator: Source of chance.

    Returns:
        (n,) numbers of pictures, n the sum of counts.
    """
    places = list(counts) if weights is None else apportioned(sum(counts), weights)
    # Which source comes when is drawn first; the order inside of each source stays as it is.
    turns = torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(places))
    turns = turns[torch.randperm(len(turns), generator=generator)]
    order = torch.empty(len(turns), dtype=torch.int64)
    first = 0
    for source, (count, wanted) in enumerate(zip(counts, places)):
        rounds = [shuffled(count, shards[source], generator) for _ in range(-(-wanted // count))] if count else []
        if rounds:
            order[turns == source] = torch.cat(rounds)[:wanted] + first
        first += count
    return order


def apportioned(total: int, weights: Sequence[float]) -> list[int]:
    """A number cut in proportion to weights, by largest remainders."""
    shares = [total * weight / sum(weights) for weight in weights]
    parts = [int(share) for share in shares]
    rest = sorted(range(len(shares)), key=lambda i: parts[i] - shares[i])[: total - sum(parts)]
    return [part + (i in rest) for i, part in enumerate(parts)]

"""Quality of generated samples: which are asked for, and every metric of them.

The callbacks during training and the command after it both call this, so they cannot disagree.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch import Tensor

from textok.metrics.clip_score import CLIPScore
from textok.metrics.distributed import max_over_ranks, rank_and_world
from textok.metrics.evaluation import DistributionMetrics
from textok.metrics.reference import Reference
from textok.types import Request


class SampleMetrics:
    """Measures the samples of a generator against real images, and against the captions that they were made for.

    Call ``load`` first, then ``measure`` with all requests, then ``compute``.

    Args:
        prefix: What the names of the numbers begin with.
        distances: Distances of the samples from real images; none when None.
        clip_score: How well a sample fits the caption it was asked for; not measured when None.
    """

    def __init__(
        self, prefix: str, distances: DistributionMetrics | None = None, clip_score: CLIPScore | None = None
    ) -> None:
        if distances is None and clip_score is None:
            raise ValueError("there is nothing to measure: give distances or clip_score")
        self.prefix = prefix
        self.distances = distances
        self.clip_score = clip_score

    def load(self, device: torch.device | str | None = None) -> None:
        """Load the networks, at the start, where missing weights shall be noticed.

        Raises:
            FileNotFoundError: If there are none.
        """
        if self.distances is not None:
            self.distances.load(device)
        if self.clip_score is not None:
            self.clip_score.load()

    @property
    def needs_reference(self) -> bool:
        """Whether real images have to be given to ``compute``."""
        return self.distances is not None and self.distances.needs_reference

    def measure(
        self,
        generate: Callable[[list[Request]], Tensor],
        requests: list[Request],
        batch_size: int,
        show: Callable[[Iterable[Any], int], Iterable[Any]] = lambda batches, _: batches,
    ) -> None:
        """Make every sample and add it; what was added before is forgotten. Every rank has to call it.

        Args:
            generate: Requests → pictures (B, 3, H, W) in about [−1, 1].
            requests: All requests, the same on every rank; each rank makes its share.
            batch_size: Samples made at once on a rank; no number depends on it.
            show: Shows the progress of batches, of which there are so many.
        """
        for metric in (self.distances, self.clip_score):
            if metric is not None:
                metric.reset()
        batches = share_of_rank(requests, batch_size)
        for batch, valid in show(batches, len(batches)):
            made = generate(batch)
            if self.distances is not None:
                self.distances.update(made, torch.tensor([request.index for request in batch]), valid)
            if self.clip_score is not None:
                captions = [request.caption or "" for request in batch]
                captioned = torch.tensor([bool(caption) for caption in captions])
                self.clip_score.update(made, captions, valid & captioned)

    def compute(self, reference: Reference | None = None) -> dict[str, float]:
        """Each metric by its name behind the prefix; every rank has to call it."""
        results: dict[str, float] = {}
        if self.distances is not None:
            results |= self.distances.compute(reference)
        if self.clip_score is not None:
            results |= self.clip_score.compute()
        return {f"{self.prefix}{name}": value for name, value in results.items()}

    @property
    def warnings(self) -> list[str]:
        """What to know about the numbers of the last ``compute``."""
        texts = [] if self.distances is None else list(self.distances.warnings)
        return texts + ([] if self.clip_score is None else self.clip_score.warnings)

    def conventions(self, reference: Reference | None = None) -> dict[str, Any]:
        """What another lab has to know to get the same numbers from the same samples."""
        told = {} if self.distances is None else self.distances.conventions(reference)
        return told | ({} if self.clip_score is None else {"clip_score": self.clip_score.conventions()})


def class_requests(num_samples: int, num_classes: int, seed: int) -> list[Request]:
    """Equally many samples of every class: the i-th is of class i modulo their number."""
    return [Request(i, i % max(1, num_classes), None, seed) for i in range(num_samples)]


def caption_requests(prompts: list[tuple[int, str]], num_samples: int | None, seed: int) -> list[Request]:
    """One sample for each of some captions.

    Args:
        prompts: Label and caption of every image of a set.
        num_samples: How many of them, spread evenly over the set, which may be sorted; None takes all.
        seed: Seed of the samples.

    Raises:
        ValueError: If there are fewer captions.
    """
    count = len(prompts) if num_samples is None else num_samples
    if count > len(prompts):
        raise ValueError(f"num_samples is {count}, but there are only {len(prompts)} captions: lower it")
    rows = [i * len(prompts) // count for i in range(count)]
    return [Request(row, *prompts[row], seed) for row in rows]


def share_of_rank(requests: list[Request], batch_size: int) -> list[tuple[list[Request], Tensor]]:
    """This rank's requests in batches, each with (B,) bool ``valid``; every rank gets equally many batches.

    Sharded weights are gathered in every forward, so ranks that ran out of requests repeat some, as padding.
    """
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, got {batch_size}")
    rank, world = rank_and_world()
    mine = requests[rank::world]
    count = max_over_ranks(-(-len(mine) // batch_size))
    return list(_padded(mine or requests[:1], len(mine), batch_size, count))


def _padded(
    requests: list[Request], num_valid: int, batch_size: int, count: int
) -> Iterator[tuple[list[Request], Tensor]]:
    for start in range(0, count * batch_size, batch_size):
        batch, valid = requests[start : start + batch_size], num_valid - start
        if valid <= 0:
            batch = requests[:1]
        yield batch, torch.arange(len(batch)) < valid

"""Loaders whose order is a function of (seed, epoch), and one of which a checkpoint can put back to where it was.

Both are plain iterables around torch's ``DataLoader``, so Lightning neither replaces their samplers nor guesses at
their state: its fit loop stores ``state_dict()`` in every checkpoint and restores it before the first batch.
Ranks share one order: batch b of rank r is row ``b · world + r`` of the epoch's order cut into pieces of a batch.
"""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Iterator
from copy import copy
from typing import Any

import torch
import torch.distributed as dist
from torch.utils.data import DataLoader

from textok.datamodules.bad_data import BadLedger
from textok.datamodules.dataset import Entry, Read, Samples, seeded
from textok.types import Batch

#: How long workers outlive SIGTERM.
SECONDS_TO_SAVE = 300


class ResumableLoader:
    """The training set as an endless stream of shuffled epochs; one iteration gives the next ``len(loader)`` batches.

    The position in the stream counts batches that were handed out, not those that workers have prepared. Iterating
    again goes on behind the last one, so a ``limit_train_batches`` shortens Lightning's epochs and loses no picture;
    what does not fill a batch on every rank is left out at the end of an epoch. All iterators of a loader share its
    position.

    Args:
        samples: What to read.
        batch_size: Samples in a batch of one rank.
        num_workers: Worker processes, kept for the life of the stream; 0 reads in this process.
        seed: Seed of the order.
        ledger: Notes the bad pictures; without one the first of them is an error.
    """

    def __init__(
        self,
        samples: Samples,
        batch_size: int,
        num_workers: int = 0,
        seed: int = 0,
        ledger: BadLedger | None = None,
    ) -> None:
        self.samples = samples
        self.batch_size = batch_size
        self.num_workers = num_workers
        self.seed = seed
        self.ledger = ledger
        self.epoch = 0
        self.consumed = 0  # samples of this epoch that all ranks together have been given
        # The name is torch's own: Lightning's teardown stops the workers of whatever it finds under it.
        self._iterator: Iterator[Read] | None = None
        len(self)

    def __len__(self) -> int:
        """Batches an epoch for each rank.

        Raises:
            ValueError: If an epoch has not even one.
        """
        _, world = rank_and_world()
        length = len(self.samples) // (self.batch_size * world)
        if length == 0:
            ranks = f" on each of {world} processes" if world > 1 else ""
            raise ValueError(
                f"batch_size {self.batch_size}{ranks} is more than the {len(self.samples)} images of the training "
                f"set: choose a batch_size of at most {max(1, len(self.samples) // world)}, or add images"
            )
        return length

    def __iter__(self) -> Iterator[Batch]:
        for _ in range(len(self)):
            if self._iterator is None:
                # A function without self: in a reference cycle the collector would end the workers' queues before
                # their iterator, which then waits 5 s for each worker.
                entries = _shuffled_entries(self.samples, self.batch_size, self.seed, self.epoch, self.consumed)
                self._iterator = iter(_torch_loader(self.samples, entries, self.num_workers))
            batch = _noted(next(self._iterator), self.ledger)
            self._advance(1)
            yield batch

    def state_dict(self) -> dict[str, int]:
        """The position: the epoch and how many of its samples all ranks have consumed.

        It does not name the batch size or the number of ranks: a run goes on at the same picture with others.
        """
        return {"epoch": self.epoch, "consumed": self.consumed, "num_images": len(self.samples), "seed": self.seed}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from ``state_dict``.

        Raises:
            ValueError: If it was written with another dataset or seed, whose positions mean other pictures.
        """
        here = self.state_dict()
        for name in ("num_images", "seed"):
            if state_dict[name] != here[name]:
                raise ValueError(
                    f"the checkpoint was written with {name} = {state_dict[name]}, the training set now has "
                    f"{name} = {here[name]}: resume with the data and the seed it was written with, or start a new run"
                )
        self.epoch, self.consumed = state_dict["epoch"], state_dict["consumed"]
        self._iterator = None
        self._advance(0)  # with a greater batch than before, the rest of the epoch may be none

    def skip(self, batches: int) -> None:
        """Pass over the next so many batches, into the next epochs if need be."""
        for _ in range(batches):
            self._advance(1)
        self._iterator = None  # what workers have prepared lies before

    def _advance(self, batches: int) -> None:
        _, world = rank_and_world()
        self.consumed += batches * self.batch_size * world
        if self.consumed + self.batch_size * world > len(self.samples):
            self.epoch, self.consumed = self.epoch + 1, 0


class FixedLoader:
    """A dataset once, in order: every rank runs the same number of full batches, padded with ``valid=False``.

    Args:
        samples: What to read.
        batch_size: Samples in a batch of one rank.
        num_workers: Worker processes, kept between iterations; 0 reads in this process.
        ledger: Notes the bad pictures, which become ``valid=False``; without one the first of them is an error.
    """

    def __init__(
        self, samples: Samples, batch_size: int, num_workers: int = 0, ledger: BadLedger | None = None
    ) -> None:
        self.samples = samples
        self.batch_size = batch_size
        self.ledger = ledger
        self._loader = _torch_loader(samples, _FixedEntries(samples, batch_size), num_workers)

    def __len__(self) -> int:
        """Batches for each rank."""
        return len(self._loader)

    def __iter__(self) -> Iterator[Batch]:
        for read in self._loader:
            yield _noted(read, self.ledger)

    @property
    def _iterator(self) -> Iterator[Read] | None:
        """That of torch's loader, under torch's own name, for Lightning's teardown to stop its workers.

        Left to the collector, it waits 5 s for each of them.
        """
        return self._loader._iterator

    @_iterator.setter
    def _iterator(self, iterator: Iterator[Read] | None) -> None:
        self._loader._iterator = iterator


class _FixedEntries:
    """The batches of this rank in a fixed order; a re-iterable batch sampler."""

    def __init__(self, samples: Samples, batch_size: int) -> None:
        self.samples = samples
        self.batch_size = batch_size

    def __len__(self) -> int:
        _, world = rank_and_world()
        return -(-len(self.samples) // (self.batch_size * world))

    def __iter__(self) -> Iterator[list[Entry]]:
        rank, world = rank_and_world()
        total = len(self.samples)
        for batch in range(len(self)):
            first = (batch * world + rank) * self.batch_size
            yield [Entry(0, row % total, row < total) for row in range(first, first + self.batch_size)]


def rank_and_world() -> tuple[int, int]:
    """This process's number and how many there are; (0, 1) outside of distributed training."""
    if dist.is_available() and dist.is_initialized():
        return dist.get_rank(), dist.get_world_size()
    return 0, 1


def _noted(read: Read, ledger: BadLedger | None) -> Batch:
    """The batch, its bad pictures noted."""
    for bad in read.bad:
        if ledger is None:
            raise bad
        ledger.add(bad.key, bad.reason)
    return read.batch


def _shuffled_entries(samples: Samples, batch_size: int, seed: int, epoch: int, start: int) -> Iterator[list[Entry]]:
    """This rank's batches of the pictures from position ``start`` of an epoch to the end of time."""
    count = len(samples)
    rank, world = rank_and_world()
    while True:
        order = samples.order(seeded(seed, epoch, 0))
        if len(order) != count:  # a plug-in's: its batches would be short, or empty
            raise ValueError(f"the order of epoch {epoch} has {len(order)} places for {count} images")
        for first in range(start, count - batch_size * world + 1, batch_size * world):
            mine = first + rank * batch_size
            yield [Entry(epoch, index) for index in order[mine : mine + batch_size].tolist()]
        epoch, start = epoch + 1, 0


def outlive_signals(worker: int) -> None:
    """Let a worker go on when a batch system or a terminal signals the whole job, so that the step can be ended.

    Torch's own workers die of SIGTERM at once, and their loader's process with them. After ``SECONDS_TO_SAVE`` these
    do, too, lest one that hangs outlives its loader.

    Args:
        worker: Its number.
    """
    for number in (signal.SIGINT, signal.SIGUSR1):
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda number, frame: signal.alarm(SECONDS_TO_SAVE))
    signal.signal(signal.SIGALRM, signal.SIG_DFL)


class _Worker(multiprocessing.Process):
    """A worker that can be ended although it outlives SIGTERM, by which torch ends its workers.

    So does Python when it exits, by what it keeps of the process, and then it waits for it: for ever, where an error
    has kept the loader from ending its workers.
    """

    def start(self) -> None:
        super().start()
        self._popen.terminate = self._popen.kill


def _torch_loader(samples: Samples, batches: object, num_workers: int) -> DataLoader:
    context = copy(multiprocessing.get_context())
    context.Process = _Worker
    return DataLoader(
        samples,
        batch_sampler=batches,
        num_workers=num_workers,
        collate_fn=samples.read,
        worker_init_fn=outlive_signals,
        multiprocessing_context=context if num_workers else None,
        pin_memory=torch.cuda.is_available(),
        persistent_workers=num_workers > 0,
    )

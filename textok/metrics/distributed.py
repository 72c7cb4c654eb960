"""Sums and gathers over all processes, or over this one where there is no process group."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

T = TypeVar("T")


def sum_over_ranks(value: Tensor) -> Tensor:
    """The sum of a tensor over all ranks, on every rank; the argument is left as it is.

    Every rank has to call it, those that saw no data with zeros.
    """
    if not _is_distributed():
        return value
    total = value.clone().to(_transport_device(value.device))
    dist.all_reduce(total)
    return total.to(value.device)


def max_over_ranks(value: int) -> int:
    """The greatest of the ranks' numbers, on every rank; every rank has to call it."""
    if not _is_distributed():
        return value
    greatest = torch.tensor(value, device=_transport_device(torch.device("cpu")))
    dist.all_reduce(greatest, dist.ReduceOp.MAX)
    return int(greatest)


def gather_rows(rows: Tensor) -> Tensor:
    """The rows of all ranks one after the other, on the first rank and on the CPU; the other ranks get no rows.

    Ranks may have different numbers of rows, none included. Every rank has to call it.
    """
    if not _is_distributed():
        return rows.cpu()
    rank, device = dist.get_rank(), _transport_device(rows.device)
    counts = torch.zeros(dist.get_world_size(), dtype=torch.int64)
    counts[rank] = len(rows)
    parts = []
    # One rank after the other: the first rank holds one copy of everything and the others nothing of it but a part.
    for source, count in enumerate(sum_over_ranks(counts).tolist()):
        shape = (count, *rows.shape[1:])
        part = rows.to(device).contiguous() if source == rank else torch.empty(shape, dtype=rows.dtype, device=device)
        dist.broadcast(part, source)
        if rank == 0:
            parts.append(part.cpu())
    return torch.cat(parts) if rank == 0 else rows[:0].cpu()


def on_first_rank(function: Callable[[], T]) -> T:
    """Run a function on the first rank only and return its result, or raise its error, on all of them.

    Every rank has to call it; the result must be picklable.
    """
    if not _is_distributed():
        return function()
    outcome: list = [None, None]
    if dist.get_rank() == 0:
        try:
            outcome[0] = function()
        except Exception as error:  # raised below, on every rank: the others wait for word
            outcome[1] = error
    dist.broadcast_object_list(outcome, 0)
    if outcome[1] is not None:
        raise outcome[1]
    return outcome[0]


def wait_for_ranks() -> None:
    """Go on when every rank has come here; nothing happens where there is one."""
    if _is_distributed():
        dist.barrier()


def rank_and_world() -> tuple[int, int]:
    """This process's rank and the number of processes."""
    return (dist.get_rank(), dist.get_world_size()) if _is_distributed() else (0, 1)


def _is_distributed() -> bool:
    return dist.is_available() and dist.is_initialized()


def _transport_device(device: torch.device) -> torch.device:
    """The device that the process group can carry a tensor on: NCCL alone takes no CPU tensors."""
    if device.type == "cpu" and "cpu" not in dist.get_backend_config():
        return torch.device("cuda", torch.cuda.current_device())
    return device

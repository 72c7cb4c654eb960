"""Sums over all processes, or over this one where there is no process group."""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import Tensor


def sum_over_ranks(value: Tensor) -> Tensor:
    """The sum of a tensor over all ranks, on every rank; the argument is left as it is.

    Every rank has to call it, those that saw no data with zeros.
    """
    if not (dist.is_available() and dist.is_initialized()):
        return value
    total = value.clone()
    if total.device.type == "cpu" and "cpu" not in dist.get_backend_config():
        # NCCL alone takes no CPU tensors.
        total = total.to(torch.device("cuda", torch.cuda.current_device()))
    dist.all_reduce(total)
    return total.to(value.device)

"""Means over the processes of a run."""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import Tensor


@torch.no_grad()
def mean_over_ranks(x: Tensor) -> Tensor:
    """The mean of a tensor over all processes, without gradient; the tensor itself where there is only one.

    Every rank must call it, with tensors of one shape.
    """
    x = x.detach()
    if not (dist.is_available() and dist.is_initialized()):
        return x
    total = x.clone()
    dist.all_reduce(total)
    return total / dist.get_world_size()

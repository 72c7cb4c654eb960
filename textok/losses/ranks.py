"""Means over the processes of a run, and the weights that they start from."""

from __future__ import annotations

from collections.abc import Iterable

import torch
import torch.distributed as dist
from torch import Tensor, nn


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


@torch.no_grad()
def broadcast_weights(network: nn.Module) -> None:
    """Give all processes the first one's weights and buffers of a network; every rank must call it."""
    if dist.is_available() and dist.is_initialized():
        for value in (*network.parameters(), *network.buffers()):
            dist.broadcast(value, src=0)


@torch.no_grad()
def average_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Replace gradients by their means over all processes, in one piece; nothing to do where there is only one.

    Every rank must call it, with gradients of the same parameters.
    """
    if not (dist.is_available() and dist.is_initialized()):
        return
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    if gradients:
        means = mean_over_ranks(torch.cat([gradient.flatten() for gradient in gradients]))
        parts = means.split([gradient.numel() for gradient in gradients])
        torch._foreach_copy_(gradients, [part.view_as(gradient) for part, gradient in zip(parts, gradients)])

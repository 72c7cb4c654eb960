"""Networks whose weights, gradients and optimiser states are spread over the processes (FSDP2, ``fully_shard``)."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor
from torch.nn.parallel import DistributedDataParallel

from textok.models import DiT, TexTok


def shard(network: TexTok | DiT, mesh: DeviceMesh) -> None:
    """Spread a network over all processes of a mesh, block by block: one block's weights are whole at a time."""
    for unit in network.units():
        fully_shard(unit, mesh=mesh)


def whole(value: Tensor) -> Tensor:
    """A tensor that is spread over the processes as a plain one on each; every rank must call it."""
    return value.full_tensor() if isinstance(value, DTensor) else value


def gradient_norm(network: nn.Module) -> Tensor:
    """The 2-norm () of a network's gradients together, sharded or not; every rank must call it."""
    gradients = [p.grad for p in network.parameters() if p.requires_grad and p.grad is not None]
    return whole(nn.utils.get_total_norm(gradients))


def unreduced(model: nn.Module) -> AbstractContextManager:
    """Inside, a backward pass leaves the gradients of data-parallel training unaveraged: on this process alone."""
    return model.no_sync() if isinstance(model, DistributedDataParallel) else nullcontext()


def left_to_the_module(model: nn.Module, network: nn.Module) -> None:
    """Keep data-parallel training off a part of a model, whose gradients the model averages by itself.

    With two networks that learn in turn each backward pass leaves one of them unused, which data-parallel training
    either refuses or looks for in the graph at every pass.
    """
    mine = {id(p) for p in network.parameters()}
    names = [name for name, p in model.named_parameters() if id(p) in mine]
    DistributedDataParallel._set_params_and_buffers_to_ignore_for_model(model, names)


@torch.no_grad()
def clip_gradients(network: nn.Module, largest: float, norm: Tensor) -> None:
    """Scale a network's gradients, of a known norm (), so that it is at most ``largest``."""
    nn.utils.clip_grads_with_norm_([p for p in network.parameters() if p.requires_grad], largest, norm)

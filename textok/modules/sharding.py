"""Networks whose weights, gradients and optimiser states are spread over the processes (FSDP2, ``fully_shard``)."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor
from torch.nn.parallel import DistributedDataParallel

from textok.models.text_encoder import TextEncoder, blocks_of


def shard(units: Iterable[nn.Module], mesh: DeviceMesh, learns: bool) -> None:
    """Spread a network over all processes of a mesh, unit by unit: one block's weights are whole at a time.

    Args:
        units: Its parts, inner before outer.
        mesh: The processes.
        learns: Whether backward passes follow its forward ones.
    """
    for unit in units:
        fully_shard(unit, mesh=mesh)
        if not learns:
            # An outermost unit stays whole for the backward pass, so without one for good; older versions of torch do
            # not listen to reshard_after_forward there.
            unit.register_forward_hook(lambda unit, *_: unit.reshard())


def shard_text_encoder(encoder: TextEncoder, mesh: DeviceMesh) -> None:
    """Spread a loaded text encoder over all processes of a mesh; from then on they have to call it equally often.

    The weights come from the CPU. ``fully_shard`` moves those of one unit to the mesh's device, cuts out this process's
    share and lets go of the rest before the next unit, so no device ever holds the whole encoder.
    """
    shard((*blocks_of(encoder.network), encoder.network), mesh, learns=False)
    encoder.group = mesh.get_group()


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

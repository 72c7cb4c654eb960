"""The processes that torchrun or Slurm started for a command, as one group."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.distributed as dist
from lightning.fabric.plugins.environments import ClusterEnvironment, SLURMEnvironment, TorchElasticEnvironment


def cluster() -> ClusterEnvironment | None:
    """What started this process together with others; None where it is alone."""
    for environment in (TorchElasticEnvironment, SLURMEnvironment):
        if environment.detect():
            found = environment()
            return found if found.world_size() > 1 else None
    return None


def local_device() -> torch.device:
    """This process's accelerator where there are any, else the CPU."""
    if not torch.accelerator.is_available():
        return torch.device("cpu")
    found = cluster()
    kind = torch.accelerator.current_accelerator().type
    return torch.device(kind, found.local_rank()) if found else torch.device(kind)


def chosen_device(name: str | None) -> torch.device:
    """The device that a command line names; this process's own where it names none.

    Raises:
        ValueError: If it cannot be used.
    """
    if name is None:
        return local_device()
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ValueError(f"--device {name} cannot be used ({str(error).splitlines()[0]})") from error
    return device


def is_first() -> bool:
    """Whether this process is the one that prints and writes; also before the group is there."""
    found = cluster()
    return found is None or found.global_rank() == 0


@contextmanager
def process_group(device: torch.device) -> Iterator[None]:
    """Join the group of all processes, and leave it at the end; nothing happens where there is one process.

    Networks have to be loaded before: an import of torch._dynamo, which timm does, keeps a group alive past its end.
    """
    found = cluster()
    if found is None:
        yield
        return
    if device.type == "cuda":
        torch.cuda.set_device(device)
    # Through the environment: torchrun's agent holds the store at that port, and says so there.
    os.environ |= {"MASTER_ADDR": found.main_address, "MASTER_PORT": str(found.main_port)}
    # CPU tensors, too: sums of counts and gathered rows are there.
    backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
    dist.init_process_group(backend, rank=found.global_rank(), world_size=found.world_size())
    try:
        yield
    finally:
        dist.destroy_process_group()

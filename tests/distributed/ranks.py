"""Functions on several processes that talk by gloo, started as torchrun starts them."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch.distributed.device_mesh import init_device_mesh


def on_ranks(ranks: int, function: Callable[..., None], *args: Any, patience: float = 300.0) -> None:
    """Call ``function(rank, *args)`` on several processes; each finds its number in the environment, too.

    Raises:
        TimeoutError: If they have not come to an end after ``patience`` seconds; they are killed.
        ProcessRaisedException: If one of them failed.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    begin = time.monotonic()
    processes = mp.start_processes(
        _called, args=(ranks, port, function, args), nprocs=ranks, join=False, start_method="fork"
    )
    while not processes.join(max(0.0, begin + patience - time.monotonic())):
        if time.monotonic() >= begin + patience:
            for process in processes.processes:
                process.kill()
            raise TimeoutError(f"the processes have not come to an end in {patience:.0f} s: they wait for each other")


def check_on(ranks: int, check: Callable[..., None], *args: Any) -> None:
    """Call ``check(mesh, *args)`` on several processes of a group, for a minute at most; errors are raised here."""
    on_ranks(ranks, _with_mesh, ranks, check, args, patience=60.0)


def _with_mesh(rank: int, ranks: int, check: Callable[..., None], args: tuple[Any, ...]) -> None:
    dist.init_process_group("gloo")
    check(init_device_mesh("cpu", (ranks,), mesh_dim_names=("data_parallel",)), *args)


def _called(rank: int, ranks: int, port: int, function: Callable[..., None], args: tuple[Any, ...]) -> None:
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(ranks), "GROUP_RANK": "0"}
    os.environ |= {"LOCAL_WORLD_SIZE": str(ranks), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    os.environ |= {"TORCHELASTIC_RUN_ID": "test", "GLOO_SOCKET_IFNAME": "lo"}
    torch.set_num_threads(1)
    function(rank, *args)
    dist.barrier()
    # No clean-up: threads of process groups may outlive it, and then end the process badly.
    os._exit(0)

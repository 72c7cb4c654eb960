"""What counts as a stall: a rank that waits in a collective for long, and not one that is busy for as long."""

import socket
import time
from datetime import timedelta

import pytest
import torch.distributed as dist

from textok.callbacks.stall import Beats

TIMEOUT = timedelta(seconds=1.6)  # half of it is the limit


@pytest.fixture
def beats():
    """A watched rank, and what was said about it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{free.getsockname()[1]}"
    dist.init_process_group("gloo", init_method=address, rank=0, world_size=1)
    said = []
    watch = Beats(0, 1, TIMEOUT, lambda *told: said.append(told))
    watch.start()
    yield watch, said
    watch.stop()
    dist.destroy_process_group()


def test_long_work_is_no_stall(beats):
    _, said = beats
    time.sleep(3)
    assert said == []


def test_long_waiting_is_one_and_coming_on_ends_it(beats):
    watch, said = beats
    store = dist.distributed_c10d._get_default_store()
    with pytest.raises(dist.DistStoreError):  # for a second process, which never comes
        dist.distributed_c10d._store_based_barrier(0, store, "nobody", 2, timedelta(seconds=3))
    assert said
    records, silent, waited = said[0]
    assert records[0]["waits"] and silent == [] and 0.8 < waited < 4
    watch.came_on(7)
    said.clear()
    time.sleep(1.2)
    assert said == []

"""Errors that say no more than that another process is gone, said to a person."""

from __future__ import annotations

import re

_WORKER = re.compile(r"DataLoader worker \(pid(?:\(s\))? (?P<pid>[\d, ]+)\) (?P<what>.*)")
#: What gloo, NCCL and the rendezvous say when a peer is gone or does not answer.
_PEER = re.compile(
    r"connection (closed|reset|refused|was lost)|broken pipe|timed? ?out|watchdog|remote process|"
    r"unhandled system error|failed to (recv|send)",
    re.IGNORECASE,
)
#: Where such an error has to come from, for a socket of a logger may say the same.
_ORIGIN = re.compile(r"gloo|nccl|tcpstore|c10d|processgroup|distnetwork|rendezvous", re.IGNORECASE)


def lost_worker(error: BaseException) -> str | None:
    """What there is to say about the death of a worker of a loader; None if the error is another one."""
    found = _WORKER.search(str(error))
    if found is None or not isinstance(error, RuntimeError):
        return None
    what = found["what"].split(". ")[0].strip().rstrip(".")
    killed = "Killed" in what or "unexpectedly" in what
    told = f"a worker process of the data loader is gone (pid {found['pid'].strip()}: {what})"
    if "Bus error" in what:
        return f"{told}: shared memory is full; enlarge /dev/shm or lower data.init_args.num_workers"
    if killed:
        told += (
            ". If the kernel ended it for want of memory (dmesg tells), ask for more or lower "
            "data.init_args.num_workers"
        )
    return told


def lost_peer(error: BaseException) -> str | None:
    """The reason in a line if an error says that another rank is gone or does not answer; None if it is another one."""
    if not isinstance(error, RuntimeError):  # torch.distributed's own errors are such, too
        return None
    text = f"{type(error).__name__}: {error}"
    if not (_PEER.search(text) and _ORIGIN.search(text)):
        return None
    return re.sub(r"^\[[^\]]*\]\s*", "", str(error).strip().splitlines()[0]).split(". This may")[0].rstrip(".")

"""Ends a run of several processes of which one is gone or hangs, and says which."""

from __future__ import annotations

import contextlib
import faulthandler
import json
import os
import sys
import threading
import time
from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path
from types import FrameType
from typing import Any

import lightning.pytorch as pl
import torch.distributed as dist
from lightning.pytorch.callbacks import Callback

from textok.callbacks.lost_process import lost_peer, lost_worker
from textok.types import EXIT_LOST

#: Share of the process group's timeout after which a rank that does not come on counts as stalled: before the group
#: itself ends the processes, which say each that they have waited and not for whom.
SHARE = 0.5


class StallWatch(Callback):
    """A thread on every rank that tells the others how far its rank is, and ends a run that does not come on.

    A rank is where its main thread is: the ranks that wait for others are in a collective, the one they wait for is
    not, or no longer answers at all. The message names it, with its last step and the line of code; the stacks of all
    its threads go to ``stalls/rankN.txt`` of the run folder. The exit code is 77, the same command goes on from the
    last checkpoint.

    The time is that of the process group: ``trainer.strategy.init_args.timeout`` of ``DDPStrategy`` and of
    ``FullySharded``. One process waits for nobody, and is not watched.
    """

    def __init__(self) -> None:
        #: What ended the fit, once it has, if it was the loss of a process.
        self.cause: str | None = None
        self._beats: Beats | None = None
        self._folder = Path()

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.world_size == 1 or not dist.is_initialized():
            return
        self._folder = Path(trainer.default_root_dir) / "stalls"
        timeout = getattr(trainer.strategy, "_timeout", None) or dist.default_pg_timeout
        self._beats = Beats(trainer.global_rank, trainer.world_size, timeout, self._stalled)
        self._beats.start()

    def _came_on(self, trainer: pl.Trainer, *_: Any) -> None:
        if self._beats is not None:
            self._beats.came_on(trainer.global_step)

    on_train_batch_start = on_train_batch_end = on_save_checkpoint = _came_on
    on_validation_batch_start = on_validation_batch_end = _came_on

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._stop()

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """Find out which process is gone, where the exception only says that one is."""
        beats, goes_on = self._beats, "the same command goes on from the last checkpoint"
        start = f"rank {trainer.global_rank}: after" if beats else "after"
        if told := lost_worker(exception):
            self.cause = f"{start} step {trainer.global_step}: {told}; {goes_on}"
        elif beats is not None and (reason := lost_peer(exception)):
            gone = beats.silent()
            who = f"{ranks(gone)} is gone" if gone else "another rank is gone or hangs"
            self.cause = (
                f"{start} step {trainer.global_step}: {who} ({reason}). What it said itself comes before this; if it "
                f"said nothing, it was killed. {goes_on.capitalize()}"
            )
        self._stop()

    def _stop(self) -> None:
        if self._beats is not None:
            self._beats.stop()
            self._beats = None

    def _stalled(self, records: dict[int, dict[str, Any]], silent: list[int], seconds: float) -> None:
        """End this process, whose main thread waits inside of a library and cannot be asked to."""
        rank = self._beats.rank
        self._folder.mkdir(parents=True, exist_ok=True)
        with open(self._folder / f"rank{rank}.txt", "w") as file:
            faulthandler.dump_traceback(file)
        if rank == min(records, default=rank):  # one of those that answer speaks for all
            print(f"textok fit: {stall_message(records, silent, seconds, self._folder)}", file=sys.stderr, flush=True)
        # The others read the last of the store, which rank 0 holds.
        time.sleep(2 * self._beats.period if rank == 0 else 0)
        os._exit(EXIT_LOST)


class Beats:
    """How far each rank is, told to all through the store at which the process group met.

    Args:
        rank: This process's.
        world: How many there are.
        timeout: That of the process group.
        stalled: Called with what each answering rank tells, the ranks that do not answer and the seconds waited.
    """

    def __init__(self, rank: int, world: int, timeout: timedelta, stalled) -> None:
        self.rank, self.world = rank, world
        self.limit = SHARE * timeout.total_seconds()
        self.period = min(10.0, self.limit / 8)
        # A connection of its own: the other one may be waiting in it.
        self._store = dist.distributed_c10d._get_default_store().clone()
        self._store.set_timeout(timedelta(seconds=max(2.0, self.period)))
        self._stalled = stalled
        self._main = threading.main_thread().ident
        self._step = 0
        self._since = time.monotonic()
        #: Since when the main thread is in a collective each time that it is looked at.
        self._waits_since: float | None = None
        self._count = 0
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="stall watch", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._end.set()

    def came_on(self, step: int) -> None:
        """Note that the rank has come on; this costs nothing."""
        self._step, self._since = step, time.monotonic()

    def _watch(self) -> None:
        while not self._end.wait(self.period):
            self._answer(self._beat, self.period)
            if time.monotonic() - self._since > self.limit:
                told = self._answer(self._ask, 4 * self.period)
                records, silent = told if told else ({self.rank: self._record()}, [0])
                # Long work of all ranks is no stall, such as the samples of a validation: somebody has to have waited.
                waited = max(record["waited"] for record in records.values())
                if not self._end.is_set() and min(waited, time.monotonic() - self._since) > self.limit:
                    self._stalled(records, silent, waited)

    def _answer(self, ask, seconds: float):
        """What a question to the store gives; None if rank 0, which holds it, does not answer."""
        answers = []

        def asked() -> None:
            with contextlib.suppress(RuntimeError):
                answers.append(ask())

        # In a thread of its own, for not every question to a store ends with its timeout.
        thread = threading.Thread(target=asked, daemon=True)
        thread.start()
        thread.join(seconds)
        return answers[0] if answers else None

    def _record(self) -> dict[str, Any]:
        frame, now = sys._current_frames().get(self._main), time.monotonic()
        waits = is_waiting(frame)
        self._waits_since = max(self._waits_since or now, self._since) if waits else None
        waited = now - self._waits_since if waits else 0.0
        return {"step": self._step, "count": self._count, "at": place(frame), "waits": waits, "waited": waited}

    def _beat(self) -> None:
        self._count += 1
        self._store.set(f"textok/{self.rank}", json.dumps(self._record()))

    def _ask(self) -> tuple[dict[int, dict[str, Any]], list[int]]:
        """What each rank tells that still does, and the others."""
        before = self._read()
        for _ in range(3):
            time.sleep(self.period)
            self._beat()  # meanwhile the watching thread waits for this one
        now = self._read()
        silent = [rank for rank in range(self.world) if now.get(rank) is None or now[rank] == before.get(rank)]
        return {rank: record for rank, record in now.items() if rank not in silent}, silent

    def _read(self) -> dict[int, dict[str, Any]]:
        keys = {rank: f"textok/{rank}" for rank in range(self.world)}
        return {rank: json.loads(self._store.get(key)) for rank, key in keys.items() if self._store.check([key])}

    def silent(self) -> list[int]:
        """The ranks that have stopped telling how far they are."""
        told = self._answer(self._ask, 4 * self.period)
        return told[1] if told else [0]


def stall_message(records: dict[int, dict[str, Any]], silent: list[int], seconds: float, folder: Path) -> str:
    """Who has stalled, in one line.

    Args:
        records: What each answering rank tells.
        silent: The ranks that do not answer.
        seconds: How long it was waited.
        folder: Where the stacks are.
    """
    late = [rank for rank, record in sorted(records.items()) if not record["waits"]]
    told = [f"{ranks(silent)} does not answer"] if silent else []
    told += [f"rank {rank} hangs at {records[rank]['at']}" for rank in late]
    told = told or ["all ranks wait in a collective: they are not at the same one"]
    waiting = [rank for rank in sorted(records) if rank not in late]
    told += [f"{ranks(waiting)} waits at {records[waiting[0]]['at']}"] if waiting else []
    step = max((record["step"] for record in records.values()), default=0)
    return (
        f"no rank has come on for {seconds:.0f} s after step {step}: {'; '.join(told)}. Stacks: {folder}; the time is "
        "the strategy's timeout. The same command goes on from the last checkpoint"
    )


def ranks(numbers: Iterable[int]) -> str:
    """``rank 3``, or ``each of ranks 1, 3``."""
    listed = [str(number) for number in numbers]
    return f"rank {listed[0]}" if len(listed) == 1 else f"each of ranks {', '.join(listed)}"


def place(frame: FrameType | None) -> str:
    """The innermost line of textok or of a package of its user that a stack is in; of a library if there is none."""
    own, innermost = None, frame
    while frame is not None and own is None:
        if not any(part in frame.f_code.co_filename for part in ("site-packages", f"{os.sep}lib{os.sep}python", "<")):
            own = frame
        frame = frame.f_back
    found = own or innermost
    if found is None:
        return "its end"
    path = Path(found.f_code.co_filename)
    return f"{path.parent.name}/{path.name}:{found.f_lineno} ({found.f_code.co_name})"


def is_waiting(frame: FrameType | None) -> bool:
    """Whether a stack is in a collective: in torch.distributed, or in a backward pass, at whose end DDP is in one."""
    for _ in range(6):
        if frame is None:
            return False
        name = frame.f_code.co_filename.replace(os.sep, "/")
        if "/torch/distributed/" in name or name.endswith("/torch/autograd/graph.py"):
            return True
        frame = frame.f_back
    return False

"""Runs of a sweep one after another: what is finished is skipped, what fails does not stop the rest.

Each run is the two commands that a person would type, ``textok fit`` and ``textok evaluate``, in processes of their
own. A lock for each run lets several sweeps share one folder; the processes of a run hold it, too, so that a sweep
started again never trains into a folder that the last one's orphan still trains into.
"""

from __future__ import annotations

import fcntl
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Container, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import fmean

from rich.console import Console

from textok.callbacks.display import duration
from textok.runs.sweep_plan import Cell, SweepPlan
from textok.runs.sweep_results import SweepResults, files_by_fingerprint
from textok.runs.sweep_run import SweepRun
from textok.types import EXIT_REQUEUE, RunEnded

#: Runs a command line after ``textok`` with its output appended to a file, and gives its exit code. The files' numbers
#: are those of open locks, to be handed on.
Execute = Callable[[list[str], Path, Sequence[int]], int]

#: Exit codes of a command that was told to make room: a fit that has saved; an evaluation, or what has not yet begun,
#: which a batch script's signal just ends, here or below a launcher.
ENDED_BY_SIGNAL = (EXIT_REQUEUE, -signal.SIGUSR1, 128 + signal.SIGUSR1)


class Locked(Exception):
    """Another process works on the run."""


class SweepRunner:
    """Works through the runs of a sweep.

    Args:
        plan: The sweep.
        output: Folder of the run folders, their logs and locks.
        results: The folder of results.
        execute: Runs a command.
        console: Where a line for each run is printed.
        reuse: Folders of other sweeps' results: what is there of an equal run is taken over.
    """

    def __init__(
        self,
        plan: SweepPlan,
        output: str | Path,
        results: SweepResults,
        execute: Execute,
        console: Console,
        reuse: Sequence[Path] = (),
    ) -> None:
        self.plan, self.output, self.results = plan, Path(output), results
        self.execute, self.console, self.reuse = execute, console, reuse
        self.failures: dict[str, str] = {}
        self._again: set[str] = set()  # trained once more, for their weights

    def pending(self, cells: Sequence[Cell], equal: Container[str] = ()) -> list[SweepRun]:
        """The runs to do: those without results, and those of stage 1 whose weights another one lacks.

        Args:
            cells: The cells.
            equal: Runs whose results are going to be taken over.
        """
        todo = {run.name for run in self.plan.runs(cells) if not self.results.has(run) and run.name not in equal}
        needed = {run.parent.name for run in self.plan.runs(cells) if run.name in todo and run.parent is not None}
        return [
            run
            for run in self.plan.runs(cells)
            if run.name in todo or (run.name in needed and not self.results.has_weights(run, self.output))
        ]

    def state(self, run: SweepRun) -> str:
        """What there is of a run."""
        if self.results.has(run):
            return "finished"
        return "begun" if (run.path(self.output) / "config.yaml").is_file() else "to do"

    def equal(self, cells: Sequence[Cell]) -> dict[str, Path]:
        """Run without results → file of those that an equal run of another sweep left.

        A run of stage 1 is not among them while a generator needs its weights.
        """
        files = files_by_fingerprint(self.reuse)
        found: dict[str, Path] = {}
        needed: set[str] = set()
        for run in reversed(self.plan.runs(cells) if files else []):  # a generator before its tokenizer
            if self.results.has(run):
                continue
            if run.name not in needed and run.fingerprint in files:
                found[run.name] = files[run.fingerprint]
            elif run.parent is not None:
                needed.add(run.parent.name)
        return found

    def take_over(self, cells: Sequence[Cell]) -> None:
        """Take over what equal runs of other sweeps left."""
        equal = self.equal(cells)
        for run in self.plan.runs(cells):
            if run.name in equal:
                self.results.take_over(run, equal[run.name])
                self._print(f"{run.name}: taken over from {equal[run.name]}")

    def estimate(self, cells: Sequence[Cell], equal: Container[str] = ()) -> tuple[int, float | None]:
        """How many runs are pending, and their seconds by the mean of the finished ones of the same stage.

        Returns:
            The number, and the seconds; None where a stage has no finished run.
        """
        spent: dict[bool, list[float]] = {False: [], True: []}  # whether of stage 2
        for run in self.plan.runs():
            if self.results.has(run):
                spent[run.parent is not None].append(self.results.seconds(run))
        todo = self.pending(cells, equal)
        if not all(spent[run.parent is not None] for run in todo):
            return len(todo), None
        return len(todo), sum(fmean(spent[run.parent is not None]) for run in todo)

    def run(self, cells: Sequence[Cell]) -> dict[str, str]:
        """Do what is pending.

        Returns:
            Failed run → reason.

        Raises:
            RunEnded: If a signal ended a run, to which the sweep makes room as well.
        """
        self.take_over(cells)
        queue = deque(self.pending(cells))
        self._again = {run.name for run in queue if self.results.has(run)}
        total, done, waited = len(queue), 0, 0
        while queue:
            run = queue.popleft()
            if run.parent in queue:  # under way in another process
                waited += 1
                queue.append(run)
                continue
            # Once round the queue without a free one: wait for the next to be set free.
            try:
                with self._lock(run, wait=waited > len(queue)) as lock:
                    waited, done = 0, done + 1
                    self._one(run, f"[{done}/{total}] {run.name}", lock)
            except Locked:
                if waited == 0:
                    self._print(f"{run.name}: under way in another process")
                waited += 1
                queue.append(run)
        return self.failures

    def _one(self, run: SweepRun, title: str, lock: int) -> None:
        parent = run.parent
        if parent is not None and parent.name in self.failures:
            self._fail(run, title, f"its tokenizer {parent.name} failed")
            return
        if self.results.has(run) and (run.name not in self._again or self.results.has_weights(run, self.output)):
            self._print(f"{title}: finished by another process")
            return
        log = self.output / "logs" / f"{run.name}.log"
        said = log.stat().st_size if log.is_file() else 0  # by an earlier attempt
        self._print(f"{title}: started, see {log}")
        seconds, start = 0.0, time.perf_counter()
        for command in (run.fit_command(self.output), run.evaluate_command(self.output)):
            if command is None:
                continue
            begin = time.perf_counter()
            code = self.execute(command, log, [lock])
            seconds = time.perf_counter() - begin
            if code in ENDED_BY_SIGNAL:
                told = f"{run.name}: a signal ended textok {command[0]}; the same command goes on"
                raise RunEnded(told, EXIT_REQUEUE)
            if code != 0:
                self._fail(
                    run, title, f"textok {command[0]} ended with exit code {code}: {last_words(log, said)} ({log})"
                )
                return
        evaluation_seconds = 0.0 if run.evaluate is None else seconds
        try:
            self.results.write(run, self.plan.name, self.output, evaluation_seconds)
        except ValueError as error:
            self._fail(run, title, str(error))
            return
        numbers = self.results.read(run)["metrics"]
        told = [f"{name} {numbers[name]:.5g}" for name in self.plan.sweep.metrics if numbers.get(name) is not None]
        self._print(", ".join([f"{title}: done in {duration(time.perf_counter() - start)}", *told]))

    def _fail(self, run: SweepRun, title: str, reason: str) -> None:
        self.failures[run.name] = reason
        self._print(f"{title}: failed, {reason}")

    def _print(self, line: str) -> None:
        self.console.print(line, markup=False, highlight=False, soft_wrap=True)

    @contextmanager
    def _lock(self, run: SweepRun, wait: bool) -> Iterator[int]:
        """The open lock of a run.

        Raises:
            Locked: If another process has it and is not waited for.
        """
        path = self.output / "locks" / f"{run.name}.lock"
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(path, "w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise Locked from None
            yield file.fileno()


def in_process_of_its_own(launcher: Sequence[str] = ()) -> Execute:
    """Runs each command as ``LAUNCHER python -m textok …``.

    Args:
        launcher: What comes before it, such as ``srun``.
    """

    def execute(command: list[str], log: Path, locks: Sequence[int]) -> int:
        log.parent.mkdir(parents=True, exist_ok=True)
        whole = [*launcher, sys.executable, "-m", "textok", *command]
        with open(log, "ab") as file:
            return subprocess.run(whole, stdout=file, stderr=subprocess.STDOUT, pass_fds=locks).returncode

    return execute


def last_words(log: Path, start: int = 0) -> str:
    """The line of a log that tells why its command ended: the last error, or else the last line.

    Args:
        log: The file.
        start: Bytes at its beginning that are of something else.
    """
    said = log.read_bytes()[start:].decode(errors="replace") if log.is_file() else ""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    errors = [line for line in lines if "error:" in line.lower()]
    return (errors or lines or ["it said nothing"])[-1]

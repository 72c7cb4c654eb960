"""Two ways to show progress: a live bar on a terminal, a line now and then anywhere else."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from typing import TypeVar

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn
from rich.text import Text

T = TypeVar("T")


class Display(ABC):
    """Shows how far one task is.

    Args:
        title: What is being done.
        total: Number of parts, or None where nobody knows.
        unit: What the parts are, in the plural.
        done: Parts that were done before, in a resumed run.
    """

    def __init__(self, title: str, total: int | None, unit: str, done: int = 0) -> None:
        self.title = title
        self.total = total
        self.unit = unit

    @abstractmethod
    def is_due(self, done: int) -> bool:
        """Whether an update would be seen; making a note costs time on a GPU."""

    @abstractmethod
    def update(self, done: int, left: float | None, note: str) -> None:
        """Show the parts done, the seconds left and a note."""

    @abstractmethod
    def status(self, text: str) -> None:
        """Show what is going on in between, "" to go back to the note."""

    @abstractmethod
    def stop(self) -> None:
        """Leave the last state standing."""


class LiveDisplay(Display):
    """A bar and a line of notes that are redrawn in place."""

    def __init__(self, console: Console, title: str, total: int | None, unit: str, done: int = 0) -> None:
        super().__init__(title, total, unit, done)
        self._progress = Progress(
            TextColumn("[bold]{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn(unit),
            TaskProgressColumn(),
            TimeElapsedColumn(),
            TextColumn("[cyan]{task.fields[left]}"),
            console=console,
        )
        self._task = self._progress.add_task(title, total=total, completed=done, left="")
        self._note, self._status, self._shown = "", "", 0.0
        self._live = Live(console=console, get_renderable=self._render, refresh_per_second=4)
        self._live.start()

    def _render(self) -> Group:
        return Group(self._progress, Text(f"  {self._status or self._note}", style="dim", overflow="ellipsis"))

    def is_due(self, done: int) -> bool:
        return time.perf_counter() - self._shown > 0.5 or done == self.total

    def update(self, done: int, left: float | None, note: str) -> None:
        self._shown, self._note, self._status = time.perf_counter(), note, ""
        ending = "" if left is None else f"{duration(left)} left"
        self._progress.update(self._task, completed=done, left=ending)

    def status(self, text: str) -> None:
        self._status = text

    def stop(self) -> None:
        self._live.stop()


class PlainDisplay(Display):
    """A line at the start and after each tenth; where the total is unknown, a line a minute."""

    def __init__(self, console: Console, title: str, total: int | None, unit: str, done: int = 0) -> None:
        super().__init__(title, total, unit, done)
        self._console = console
        self._start = self._shown = time.perf_counter()
        self._tenth = self._tenths(done)
        self._print(f"{title}: {f'from {done} to ' if done else ''}{total or 'an unknown number of'} {unit}")

    def _tenths(self, done: int) -> int:
        return 10 * done // self.total if self.total else 0

    def is_due(self, done: int) -> bool:
        if not self.total:
            return time.perf_counter() - self._shown > 60
        return self._tenths(done) > self._tenth

    def update(self, done: int, left: float | None, note: str) -> None:
        self._shown, self._tenth = time.perf_counter(), self._tenths(done)
        share = f"{done}/{self.total} ({done / self.total:.0%})" if self.total else f"{done}"
        parts = [share, note, f"{duration(self._shown - self._start)} elapsed"]
        if left is not None:
            parts.append(f"{duration(left)} left")
        self._print(f"{self.title}: {', '.join(part for part in parts if part)}")

    def status(self, text: str) -> None:
        """Nothing: a passing state is no news in a log."""

    def stop(self) -> None:
        """Nothing: lines stand."""

    def _print(self, line: str) -> None:
        self._console.print(line, markup=False, highlight=False, soft_wrap=True)


def open_display(console: Console, title: str, total: int | None, unit: str, done: int = 0) -> Display:
    """The display that fits the console."""
    return (LiveDisplay if console.is_terminal else PlainDisplay)(console, title, total, unit, done)


def track(console: Console, title: str, parts: Iterable[T], total: int, unit: str = "batches") -> Iterator[T]:
    """The parts of a task one by one, with its progress and the time left; a part counts once the next is asked for."""
    display = open_display(console, title, total, unit)
    begin = time.perf_counter()
    try:
        for done, part in enumerate(parts, 1):
            yield part
            if display.is_due(done):
                display.update(done, (time.perf_counter() - begin) / done * (total - done), "")
    finally:
        display.stop()


def duration(seconds: float) -> str:
    """Seconds as 0:07, 12:34 or 1:02:03."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"

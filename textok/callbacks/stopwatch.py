"""A clock that stands still while something else than training runs."""

from __future__ import annotations

import time


class Stopwatch:
    """Counts the seconds since it was made, less its pauses."""

    def __init__(self) -> None:
        self._start = time.perf_counter()
        self._paused = 0.0
        self._pause_start: float | None = None

    @property
    def seconds(self) -> float:
        """Seconds that were not paused."""
        now = time.perf_counter() if self._pause_start is None else self._pause_start
        return now - self._start - self._paused

    @property
    def paused_seconds(self) -> float:
        """Seconds of all pauses."""
        return time.perf_counter() - self._start - self.seconds

    def pause(self) -> None:
        """Stand still; a second pause changes nothing."""
        if self._pause_start is None:
            self._pause_start = time.perf_counter()

    def resume(self) -> None:
        """Go on; without a pause nothing happens."""
        if self._pause_start is not None:
            self._paused += time.perf_counter() - self._pause_start
            self._pause_start = None

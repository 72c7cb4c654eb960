"""Pictures that cannot be used: each is named with its reason and counted, and too many stop the run."""

from __future__ import annotations

import os
import warnings
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class BadData:
    """What happens to pictures that cannot be read.

    In training the next readable picture takes the place of a bad one; in evaluation its place is not counted.

    Args:
        max_share: Largest share of bad pictures among those listed; more stop the run. 0 stops it at the first one.
        log: File that gets a line for each: set, name and reason, between tabs. None takes bad_images.tsv in the run
            folder; without a run each is told in a warning.
    """

    max_share: float = 0.01
    log: Path | None = None

    def __post_init__(self) -> None:
        if not 0.0 <= self.max_share <= 1.0:
            raise ValueError(f"max_share is a share: it must lie in [0, 1], got {self.max_share}")


@dataclass
class BadLedger:
    """The bad pictures of one set: those that listing left out and those that reading met.

    Args:
        name: What the set is called in messages.
        listed: Pictures of the set, with the bad ones.
        policy: What happens to them.
        log: File to append to; None warns.
    """

    name: str
    listed: int
    policy: BadData
    log: Path | None = None
    #: Name of each → reason.
    bad: dict[str, str] = field(default_factory=dict)

    def add(self, name: str, reason: str) -> None:
        """Note a picture; noting it again changes nothing.

        Raises:
            ValueError: If there are too many now.
        """
        if name in self.bad:
            return
        self.bad[name] = reason
        if self.log is None:
            warnings.warn(f"{self.name}: {name} is skipped: {reason}", stacklevel=2)
        else:
            self.log.parent.mkdir(parents=True, exist_ok=True)
            # One write of a line in append mode: lines of several processes do not mix.
            line = "\t".join(" ".join(part.split()) for part in (self.name, name, reason)) + "\n"
            descriptor = os.open(self.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
            try:
                os.write(descriptor, line.encode("utf-8", "backslashreplace"))
            finally:
                os.close(descriptor)
        self.check()

    def check(self) -> None:
        """Stop the run if there are too many.

        Raises:
            ValueError: If the share of bad pictures exceeds the policy's.
        """
        if len(self.bad) > self.policy.max_share * self.listed or len(self.bad) == self.listed:
            name, reason = next(reversed(self.bad.items()))
            where = f", all in {self.log}" if self.log is not None else ""
            raise ValueError(
                f"{self.name}: {len(self.bad):,} of {self.listed:,} pictures are bad, more than max_share = "
                f"{self.policy.max_share:g} (the last: {name}: {reason}{where}): mend the data, or raise "
                "data.init_args.bad_data.max_share"
            )

    def __str__(self) -> str:
        where = f"; see {self.log}" if self.log is not None and self.bad else ""
        return f"{self.name}: {self.listed:,} pictures listed, {len(self.bad):,} of them bad so far{where}"

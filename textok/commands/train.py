"""``textok fit | validate | test | predict``."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path


def main(args: list[str]) -> int:
    """Run one of Lightning's sub-commands; all but fit take their configuration from the run folder by default.

    Args:
        args: Command line from the sub-command on.

    Returns:
        The exit code.
    """
    restarts = option_value(args[1:], "--max_restarts") if args[0] == "fit" else None
    if restarts is not None:
        return restarting(without_option(args, "--max_restarts"), restarts)
    from textok.runs.parser import TextokCLI

    TextokCLI(with_run_config(args))
    return 0


def restarting(args: list[str], restarts: str) -> int:
    """Run a fit in a process of its own, and start it again each time that its watchdog ends it.

    Args:
        args: Command line from the sub-command on.
        restarts: Largest number of further starts, as given.

    Returns:
        The exit code of the last one.

    Raises:
        ValueError: If the number is none, or the process is one of several of a job.
    """
    from textok.types import EXIT_DIVERGED

    if not restarts.isdecimal():
        raise ValueError(f"--max_restarts must be a number of starts, got {restarts!r}")
    for name in ("WORLD_SIZE", "SLURM_NTASKS"):
        if int(os.environ.get(name, 1)) > 1:
            raise ValueError(
                f"--max_restarts cannot start {os.environ[name]} processes ({name}) together: leave it out, and "
                f"let the batch script or torchrun start the command again after exit code {EXIT_DIVERGED}"
            )
    signals: list[int] = []
    child: subprocess.Popen | None = None

    def forward(number: int, frame: object) -> None:
        signals.append(number)
        if child is not None:
            child.send_signal(number)

    numbers = (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)
    before = {number: signal.signal(number, forward) for number in numbers}
    try:
        for start in range(int(restarts) + 1):
            # A session of its own: Ctrl-C would otherwise reach the child twice, from the terminal and from here.
            child = subprocess.Popen([sys.executable, "-m", "textok", *args], start_new_session=True)
            code = child.wait()
            if code != EXIT_DIVERGED or signals or start == int(restarts):
                break
            print(f"textok fit: restart {start + 1} of {restarts}", file=sys.stderr)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    return code if code >= 0 else 128 - code


def with_run_config(args: list[str]) -> list[str]:
    """Put ``--config FOLDER/config.yaml`` first where a command other than fit names a run."""
    command, *options = args
    run = option_value(options, "--run")
    if command == "fit" or run is None:
        return args
    config = Path(run) / "config.yaml"
    if not config.is_file():
        raise ValueError(f"{run} is no run folder: it holds no config.yaml")
    return [command, "--config", str(config), *options]


def option_value(options: list[str], name: str) -> str | None:
    """The value of ``--name VALUE`` or ``--name=VALUE`` on a command line, or None."""
    for position, option in enumerate(options):
        if option == name and position + 1 < len(options):
            return options[position + 1]
        if option.startswith(f"{name}="):
            return option.split("=", 1)[1]
    return None


def without_option(args: list[str], name: str) -> list[str]:
    """A command line without ``--name VALUE`` and ``--name=VALUE``."""
    kept, skip = [], False
    for arg in args:
        if not skip and arg != name and not arg.startswith(f"{name}="):
            kept.append(arg)
        skip = not skip and arg == name
    return kept

"""``textok fit | validate | test | predict``."""

from __future__ import annotations

from pathlib import Path


def main(args: list[str]) -> None:
    """Run one of Lightning's sub-commands; all but fit take their configuration from the run folder by default.

    Args:
        args: Command line from the sub-command on.
    """
    from textok.runs.parser import TextokCLI

    TextokCLI(with_run_config(args))


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

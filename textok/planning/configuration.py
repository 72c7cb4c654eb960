"""A configuration from a command line that also holds a command's own options."""

from __future__ import annotations

from pathlib import Path

from textok.runs.folder import RunFolder
from textok.runs.parser import TextokCLI


def parse(args: list[str], run: Path | None = None) -> TextokCLI:
    """Parse a configuration as ``fit`` does, without running anything.

    Args:
        args: ``-c FILE`` and options, as for ``fit``.
        run: A run folder, whose configuration comes first.

    Raises:
        ValueError: If there is neither a file nor a run.
        argparse.ArgumentError: If the configuration does not parse.
    """
    first: list[str] = []
    if run is not None:
        folder = RunFolder(run)
        folder.config()
        first = ["--config", str(folder.config_file)]
    if not [*first, *args]:
        raise ValueError("no configuration: give -c FILE as for textok fit, or --run FOLDER")
    return TextokCLI([*first, *args], run=False)

"""``textok doctor``: whether a configuration can run, without training it."""

from __future__ import annotations

import argparse
from pathlib import Path


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="textok doctor",
        description="Check a configuration before it costs GPU hours: files, captions, weights, sizes, batch, "
        "precision, memory and disk. One line a finding, with its remedy; the exit code is 1 if one is an error. "
        "Everything else on the command line is the configuration's, as for textok fit: -c FILE …, --model.…",
        allow_abbrev=False,
    )
    parser.add_argument("--run", type=Path, help="the run's folder; if it holds a configuration, that one comes first")
    parser.add_argument("--gpus", type=int, help="number of processes, one a GPU (the configuration's)")
    parser.add_argument("--gpu", help="kind of GPU it shall run on (this machine's devices)")
    return parser


def main(args: list[str]) -> int:
    """Examine a configuration and print what was found.

    Args:
        args: Command line, beginning with the sub-command's own name.

    Returns:
        The exit code: 1 if there is an error.
    """
    options, configuration = build_parser().parse_known_args(args[1:])

    from rich.console import Console

    from textok.planning import examine_options, find_gpu

    gpu = find_gpu(options.gpu) if options.gpu is not None else None
    counts = {"error": 0, "warning": 0, "note": 0, "ok": 0}
    styles = {"error": "bold red", "warning": "yellow", "note": "cyan", "ok": "green"}
    console = Console(soft_wrap=True, highlight=False)
    for name, finding in examine_options(configuration, gpu, options.gpus, options.run):
        counts[finding.severity] += 1
        remedy = f" -> {finding.remedy}" if finding.remedy else ""
        console.print(f"{finding.severity:<8}", style=styles[finding.severity], end="")
        console.print(f"{name:<10}{finding.what}{remedy}", markup=False)
    console.print(f"{counts['error']} errors, {counts['warning']} warnings")
    return int(counts["error"] > 0)

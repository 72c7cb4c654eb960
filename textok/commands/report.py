"""``textok report``: what runs measured and made, on one HTML page."""

from __future__ import annotations

import argparse
from pathlib import Path


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="textok report",
        description="Write one self-contained HTML page about some runs: a table, training curves, quality against "
        "tokens and sampling time, reconstructions and samples. Each plot is also a PNG beside the page.",
    )
    parser.add_argument("runs", metavar="RUN", nargs="+", type=Path, help="a run folder, or a folder of run folders")
    parser.add_argument("--output", type=Path, default=Path("report"), help="folder of the page (report)")
    return parser


def main(args: list[str]) -> None:
    """Write the report and print where it is.

    Args:
        args: Command line, beginning with the sub-command's own name.
    """
    options = build_parser().parse_args(args[1:])
    from textok.report import write_report

    print(write_report(options.runs, options.output))

"""``textok estimate``: what a configuration costs, before anything is trained."""

from __future__ import annotations

import argparse
from pathlib import Path


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="textok estimate",
        description="Work, memory, hours and storage of a configuration. It needs neither data nor weights nor a GPU. "
        "Everything else on the command line is the configuration's, as for textok fit: -c FILE …, --model.…",
        allow_abbrev=False,
    )
    parser.add_argument("--run", type=Path, help="a run folder, instead of or before -c FILE")
    parser.add_argument("--gpus", type=int, default=1, help="number of GPUs (1)")
    parser.add_argument("--gpu", default="h100", help="kind of GPU (h100); an unknown one prints the list")
    parser.add_argument(
        "--utilisation", type=float, default=0.4, help="share of the GPU's peak rate that training reaches (0.4)"
    )
    parser.add_argument(
        "--num_images", type=int, default=1_281_167, help="images of the training set, for epochs and caches (ImageNet)"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write every number to a file")
    return parser


def main(args: list[str]) -> None:
    """Estimate and print the tables.

    Args:
        args: Command line, beginning with the sub-command's own name.
    """
    options, configuration = build_parser().parse_known_args(args[1:])

    from rich.console import Console

    from textok.planning import Assumptions, estimate, find_gpu, parse, tables

    assumptions = Assumptions(find_gpu(options.gpu), options.gpus, options.utilisation, options.num_images)
    found = estimate(parse(configuration, options.run), assumptions)
    console = Console()
    for table in tables(found):
        console.print(table)
    for name in found.uncounted:
        console.print(f"note: the {name} is in no number here: its shape is not on this disk", soft_wrap=True)
    if options.json is not None:
        from textok.storage import write_json

        write_json(options.json, found.to_dict())
        console.print(f"written to {options.json}", soft_wrap=True, markup=False, highlight=False)

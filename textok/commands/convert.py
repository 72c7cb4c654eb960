"""``textok convert``: a checkpoint whole, in parts, or its weights as safetensors."""

from __future__ import annotations

import argparse
from pathlib import Path


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="textok convert",
        description="Write a checkpoint in another form: whole, in parts for several processes, or its weights alone "
        "as safetensors. A run goes on from either kind of checkpoint on any number of processes; one made from "
        "safetensors has weights only, for stage 2's tokenizer_checkpoint.",
        exit_on_error=False,
    )
    parser.add_argument("source", type=Path, help="checkpoint, whole or in parts, or a .safetensors file")
    parser.add_argument("target", type=Path, help="checkpoint to write, or a .safetensors file")
    parser.add_argument("--ranks", type=int, help="write the checkpoint in so many parts; whole by default")
    parser.add_argument("--weights", choices=("ema", "raw"), help="weights of a .safetensors file; ema by default")
    return parser


def main(args: list[str]) -> None:
    """Convert a checkpoint.

    Args:
        args: Command line, beginning with the sub-command's own name.
    """
    options = build_parser().parse_args(args[1:])

    from textok.runs.convert import convert

    print(convert(options.source, options.target, options.ranks, options.weights))

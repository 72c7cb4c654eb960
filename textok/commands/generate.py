"""``textok generate``: pictures of prompts or classes."""

from __future__ import annotations

import argparse
from pathlib import Path


def build_parser() -> argparse.ArgumentParser:
    from textok.runs.model_options import model_parser

    parser = model_parser("generate", "Make pictures of prompts or classes; several give a grid, a row for each.")
    parser.add_argument("--prompt", action="append", help="what to show; may be repeated")
    parser.add_argument("--label", action="append", help="class number or name; may be repeated")
    parser.add_argument("--num_images", type=int, default=1, help="pictures of each (1)")
    parser.add_argument("--num_steps", type=int, help="steps of the sampler (the model's)")
    parser.add_argument("--guidance", type=float, help="scale of the guidance (the model's); 1 does not guide")
    parser.add_argument("--seed", type=int, default=0, help="seed of the noise (0)")
    parser.add_argument("--output", type=Path, default=Path("generated.png"), help="file (generated.png)")
    return parser


def main(args: list[str]) -> None:
    """Generate pictures.

    Args:
        args: Command line, beginning with the sub-command's own name.
    """
    options = build_parser().parse_args(args[1:])

    from textok.runs.model_options import open_pipeline, write_pictures

    pictures = open_pipeline(options).generate(
        options.prompt,
        options.label,
        options.num_images,
        options.num_steps,
        options.guidance,
        options.seed,
        options.cut,
    )
    each = options.num_images
    rows = [pictures[start : start + each] for start in range(0, len(pictures), each)]
    asked = options.prompt if options.prompt is not None and len(options.prompt) == len(rows) else options.label
    write_pictures(options.output, rows, asked)

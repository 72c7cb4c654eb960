"""``textok decode``: latent tokens of a file to pictures, with their captions or others."""

from __future__ import annotations

import argparse
from pathlib import Path


def build_parser() -> argparse.ArgumentParser:
    from textok.runs.model_options import model_parser

    parser = model_parser(
        "decode", "Decode what textok encode wrote; several pictures give a grid. Another caption edits by words."
    )
    parser.add_argument("latents", type=Path, help="file of textok encode")
    parser.add_argument("--caption", action="append", help="once for all, or once for each (those of the file)")
    parser.add_argument("--output", type=Path, default=Path("decoded.png"), help="file (decoded.png)")
    return parser


def main(args: list[str]) -> None:
    """Decode latents.

    Args:
        args: Command line, beginning with the sub-command's own name.
    """
    options = build_parser().parse_args(args[1:])

    from textok.runs.latent_file import read_latents
    from textok.runs.model_options import open_pipeline, write_pictures

    pipeline = open_pipeline(options)
    latents, captions = read_latents(options.latents, pipeline.pair_sha256)
    write_pictures(options.output, [pipeline.decode(latents, options.caption or captions, cut=options.cut)])

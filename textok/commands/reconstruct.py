"""``textok reconstruct``: pictures through the tokenizer and back."""

from __future__ import annotations

import argparse
from pathlib import Path


def build_parser() -> argparse.ArgumentParser:
    from textok.runs.model_options import add_pictures, model_parser

    parser = model_parser("reconstruct", "Encode and decode pictures; several give a grid, the originals above.")
    add_pictures(parser)
    parser.add_argument("--output", type=Path, default=Path("reconstruction.png"), help="file (reconstruction.png)")
    return parser


def main(args: list[str]) -> None:
    """Reconstruct pictures.

    Args:
        args: Command line, beginning with the sub-command's own name.
    """
    options = build_parser().parse_args(args[1:])

    from textok.pipeline.images import from_batch, read_picture, to_batch
    from textok.runs.model_options import open_pipeline, write_pictures

    pictures = [read_picture(file) for file in options.files]
    pipeline = open_pipeline(options)
    images = to_batch(pictures, pipeline.description.sizes.image_size)
    made = pipeline.reconstruct(images, options.caption, cut=options.cut)
    if len(made) == 1:
        write_pictures(options.output, [made])
    else:
        write_pictures(options.output, [from_batch(images, "pil"), made], ["picture", "reconstruction"])

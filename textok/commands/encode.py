"""``textok encode``: pictures to latent tokens in a file."""

from __future__ import annotations

import argparse
from pathlib import Path


def build_parser() -> argparse.ArgumentParser:
    from textok.runs.model_options import add_pictures, model_parser

    parser = model_parser("encode", "Write the latent tokens of pictures, with their captions, as safetensors.")
    add_pictures(parser)
    parser.add_argument("--output", type=Path, default=Path("latents.safetensors"), help="file (latents.safetensors)")
    return parser


def main(args: list[str]) -> None:
    """Encode pictures.

    Args:
        args: Command line, beginning with the sub-command's own name.
    """
    options = build_parser().parse_args(args[1:])

    from textok.pipeline.images import read_picture
    from textok.runs.latent_file import write_latents
    from textok.runs.model_options import open_pipeline

    pictures = [read_picture(file) for file in options.files]
    pipeline = open_pipeline(options)
    latents = pipeline.encode(pictures, options.caption, cut=options.cut)
    captions = options.caption or [""]
    captions = captions * len(pictures) if len(captions) == 1 else captions
    write_latents(options.output, latents, captions, pipeline.pair_sha256)
    print(f"{options.output}: latents {tuple(latents.shape)}")

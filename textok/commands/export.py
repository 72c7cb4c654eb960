"""``textok export``: a run's averaged weights as a folder that the library loads and a hub takes."""

from __future__ import annotations

import argparse
from pathlib import Path


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="textok export",
        description="Write config.json, model.safetensors and a model card from a run of either stage: no pickle, no "
        "code, nothing that only training needs. TexTokPipeline.from_pretrained reads it.",
        exit_on_error=False,
    )
    parser.add_argument("run", type=Path, help="run folder")
    parser.add_argument("folder", type=Path, help="folder to write")
    parser.add_argument("--checkpoint", type=Path, help="a checkpoint of the run; the newest by default")
    return parser


def main(args: list[str]) -> None:
    """Export a run.

    Args:
        args: Command line, beginning with the sub-command's own name.
    """
    options = build_parser().parse_args(args[1:])

    from textok.runs.export import pipeline_of_run

    pipeline_of_run(options.run, options.checkpoint).save_pretrained(options.folder)
    size = (options.folder / "model.safetensors").stat().st_size
    print(f"{options.folder}: {size / 2**20:.1f} MiB of weights, config.json and a model card")

"""``textok sample``: many samples of a generator, for an evaluator."""

from __future__ import annotations

import argparse
from pathlib import Path


def build_parser() -> argparse.ArgumentParser:
    from textok.runs.model_options import model_parser

    parser = model_parser(
        "sample",
        "Make samples of all classes, one class or a file of captions. Killed and started again, it goes on where it "
        "was; started by torchrun, each process takes its share. Sample i depends on the seed and on i only.",
    )
    parser.add_argument("each", type=int, help="samples of each class or caption")
    parser.add_argument("--label", help="number or name of the only class; all classes by default")
    parser.add_argument("--captions", type=Path, help="captions instead: .txt (one a line), .jsonl, .csv or .parquet")
    parser.add_argument("--num_steps", type=int, help="steps of the sampler (the model's)")
    parser.add_argument("--guidance", type=float, help="scale of the guidance (the model's); 1 does not guide")
    parser.add_argument("--seed", type=int, default=0, help="seed of the noise (0)")
    parser.add_argument("--batch_size", type=int, default=64, help="samples at once (64)")
    parser.add_argument("--format", choices=("png", "npz", "tar"), default="png", help="beside PNG files (png: none)")
    parser.add_argument("--output", type=Path, default=Path("samples"), help="folder (samples)")
    return parser


def main(args: list[str]) -> None:
    """Write samples.

    Args:
        args: Command line, beginning with the sub-command's own name.
    """
    options = build_parser().parse_args(args[1:])
    if options.label is not None and options.captions is not None:
        raise ValueError("give --label or --captions, not both")

    from rich.console import Console

    from textok.runs.model_options import open_pipeline
    from textok.runs.processes import is_first, process_group
    from textok.runs.sampling import SamplingOptions, requests_for, write_samples

    pipeline = open_pipeline(options)
    choices = SamplingOptions(options.batch_size, options.num_steps, options.guidance)
    requests = requests_for(pipeline, options.each, options.seed, options.label, options.captions)
    pipeline.prepare(options.cut, [each.caption for each in requests if each.caption is not None])
    with process_group(pipeline.networks.device):
        console = Console(quiet=not is_first())
        written = write_samples(options.output, pipeline, requests, choices, options.format, console)
        console.print(f"{len(requests):,} samples in {written}", soft_wrap=True, markup=False, highlight=False)

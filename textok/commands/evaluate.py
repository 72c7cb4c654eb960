"""``textok evaluate``: what a run reached, on all held-out images or on fresh samples."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jsonargparse import ArgumentParser


def build_parser() -> ArgumentParser:
    from jsonargparse import ArgumentParser

    from textok.metrics import FeatureExtractor, PairedMean

    parser = ArgumentParser(
        prog="textok evaluate",
        description="Measure a run: reconstructions of all held-out images (stage 1) or fresh samples (stage 2). "
        "Writes evaluation/*.json into the run folder, with every convention.",
        exit_on_error=False,
    )
    parser.add_argument("run", type=Path, help="the run folder")
    parser.add_argument("--config", action="config", help="options from YAML")
    parser.add_argument(
        "--extractor",
        type=FeatureExtractor,
        default={"class_path": "textok.metrics.InceptionFeatures"},
        help="the feature space: textok.metrics.InceptionFeatures (FID …; needs its weights) or "
        "textok.metrics.Lite0FeatureExtractor (FED, KED; no download)",
    )
    parser.add_argument("--metrics", type=list[str] | None, default=None, help="results of the extractor; all if null")
    parser.add_argument(
        "--pairs",
        type=list[PairedMean] | None,
        default=None,
        help="stage 1: metrics of an original and its reconstruction; PSNR and SSIM if null",
    )
    parser.add_argument(
        "--captions", type=list[str], default=["own", "empty", "other"], help="stage 1: captions to reconstruct with"
    )
    parser.add_argument("--num_samples", type=int, default=50_000, help="stage 2: samples to make")
    parser.add_argument("--batch_size", type=int, default=64, help="stage 2: samples made at once")
    parser.add_argument("--seed", type=int, default=0, help="stage 2: seed of the samples")
    parser.add_argument(
        "--checkpoint", type=Path | None, default=None, help="a checkpoint of the run; the newest if null"
    )
    parser.add_argument("--device", type=str | None, default=None, help="where to compute; a GPU if there is one")
    parser.add_argument(
        "--reference", type=Path | None, default=None, help="ADM's npz file to compare with; the run's data if null"
    )
    parser.add_argument(
        "--references",
        type=Path,
        default=Path("~/.cache/textok/references"),
        help="folder in which measured reference sets are kept",
    )
    return parser


def main(args: list[str]) -> None:
    """Evaluate a run and print a table.

    Args:
        args: Command line, beginning with the sub-command's own name.
    """
    parser = build_parser()
    options = parser.instantiate_classes(parser.parse_args(args[1:]))

    from textok.metrics import DistributionMetrics
    from textok.runs.evaluation import RunEvaluation
    from textok.types import Generates

    evaluation = RunEvaluation(
        options.run,
        DistributionMetrics(options.extractor, options.metrics),
        options.references.expanduser(),
        options.reference,
        options.checkpoint,
        options.device,
    )
    if isinstance(evaluation.module, Generates):
        show(evaluation.generation(options.num_samples, options.batch_size, options.seed))
    else:
        show(evaluation.reconstruction(options.captions, options.pairs))


def show(file: Path) -> None:
    """Print an evaluation's numbers and warnings: a row a metric, a column a caption."""
    from rich.console import Console
    from rich.table import Table

    from textok.report.labels import CAPTIONS, split_caption

    record = json.loads(file.read_text())
    told = record["conventions"]
    rows: dict[str, dict[str, str]] = {}
    for name, value in record["metrics"].items():
        metric, ending = split_caption(name)
        rows.setdefault(metric, {})[ending] = f"{value:.5g}"
    endings = [ending for ending in CAPTIONS if any(ending in row for row in rows.values())]
    table = Table(title=f"{file.stem}: {told['num_images']:,} images, {told['checkpoint']}", title_justify="left")
    table.add_column("metric")
    for ending in endings:
        table.add_column(CAPTIONS[ending] if told.get("pairs") else "value", justify="right")
    for metric, values in rows.items():
        table.add_row(metric, *(values.get(ending, "") for ending in endings))
    console = Console()
    console.print(table)
    for warning in record["warnings"]:
        console.print(f"note: {warning}", soft_wrap=True, markup=False, highlight=False)
    console.print(f"every convention: {file}", soft_wrap=True, markup=False, highlight=False)

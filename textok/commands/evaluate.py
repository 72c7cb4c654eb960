"""``textok evaluate``: what a run reached, on all held-out images or on fresh samples."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jsonargparse import ArgumentParser

#: What the columns of a reconstruction's table are called.
CAPTIONS = {"own": "own caption", "empty": "no caption", "other": "another's"}


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
    parser.add_argument("--checkpoint", type=Path, default=None, help="a checkpoint of the run; the newest if null")
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

    from textok.metrics.evaluation import DistributionMetrics
    from textok.runs.evaluation import RunEvaluation

    evaluation = RunEvaluation(
        options.run,
        DistributionMetrics(options.extractor, options.metrics),
        options.references.expanduser(),
        options.checkpoint,
    )
    if evaluation.stage == "reconstruction":
        record = evaluation.reconstruction(options.captions, options.pairs)
    else:
        record = evaluation.generation(options.num_samples, options.batch_size, options.seed)
    show(record, options.run / "evaluation" / f"{evaluation.stage}.json")


def show(record: dict[str, Any], file: Path) -> None:
    """Print the numbers, the warnings and where everything was written."""
    from rich.console import Console
    from rich.table import Table

    console = Console()
    told = record["conventions"]
    captions = told.get("captions", ["own"])
    table = Table(title=f"{file.stem}: {told['num_images']:,} images, {told['checkpoint']}", title_justify="left")
    table.add_column("metric")
    for kind in captions if "captions" in told else ["value"]:
        table.add_column(CAPTIONS.get(kind, kind), justify="right")
    endings = ["" if kind == "own" else f"_{kind}" for kind in captions]
    names = [name for name in record["metrics"] if not name.endswith(("_empty", "_other"))]
    for name in names or [name.removesuffix(endings[0]) for name in record["metrics"]]:
        values = [record["metrics"].get(f"{name}{ending}") for ending in endings]
        table.add_row(name, *("" if value is None else f"{value:.5g}" for value in values))
    console.print(table)
    for warning in record["warnings"]:
        console.print(f"note: {warning}", soft_wrap=True, markup=False, highlight=False)
    console.print(f"every convention: {file}", soft_wrap=True, markup=False, highlight=False)

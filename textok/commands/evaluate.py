"""``textok evaluate``: what a run reached, or how good images on disk are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import torch
    from jsonargparse import ArgumentParser, Namespace
    from rich.console import Console

    from textok.runs.evaluation import RunEvaluation
    from textok.runs.image_evaluation import ImageEvaluation


def build_parser() -> ArgumentParser:
    from jsonargparse import ArgumentParser

    from textok.metrics import CLIPScore, FeatureExtractor, PairedMean

    parser = ArgumentParser(
        prog="textok evaluate",
        description="Measure a run (reconstructions of all held-out images in stage 1, fresh samples in stage 2), or "
        "images on disk against others. Writes the numbers with every convention. Started by torchrun or srun, it "
        "shares the work among all processes.",
        exit_on_error=False,
    )
    parser.add_argument("target", type=Path, help="a run folder; or a folder, .tar or ADM .npz of images")
    parser.add_argument("--config", action="config", help="options from YAML, as in configs/evaluation")
    parser.add_argument(
        "--extractor",
        type=FeatureExtractor,
        default={"class_path": "textok.metrics.InceptionFeatures"},
        help="the feature space: textok.metrics.InceptionFeatures (FID …; needs its weights) or "
        "textok.metrics.Lite0FeatureExtractor (FED, KED; no download)",
    )
    parser.add_argument(
        "--metrics", type=list[str] | None, default=None, help="results of the extractor; all if null, none if []"
    )
    parser.add_argument(
        "--pairs",
        type=list[PairedMean] | None,
        default=None,
        help="metrics of an original and its reconstruction; for a run PSNR and SSIM if null, for images none",
    )
    parser.add_argument(
        "--clip_score", type=CLIPScore | None, default=None, help="how well images fit their captions; not if null"
    )
    parser.add_argument(
        "--reference",
        type=Path | None,
        default=None,
        help="what to compare with: a folder, .tar or ADM .npz of images, or the .json of a kept reference; for a run "
        "its own data if null",
    )
    parser.add_argument(
        "--cache",
        type=Path,
        default=Path("~/.cache/textok/references"),
        help="folder in which measured reference sets are kept",
    )
    parser.add_argument("--batch_size", type=int, default=64, help="samples made, or images read, at once")
    parser.add_argument("--device", type=str | None, default=None, help="where to compute; a GPU if there is one")
    run = parser.add_argument_group("of a run")
    run.add_argument("--checkpoint", type=Path | None, default=None, help="a checkpoint of it; the newest if null")
    run.add_argument("--weights", type=Literal["ema", "raw"], default="ema", help="the averages, or the raw weights")
    run.add_argument(
        "--captions", type=list[str], default=["own", "empty", "other"], help="stage 1: captions to reconstruct with"
    )
    run.add_argument(
        "--prompts",
        type=Literal["classes", "captions"],
        default="classes",
        help="stage 2: sample every class equally often, or the held-out captions (text to image)",
    )
    run.add_argument(
        "--num_samples", type=int | None, default=None, help="stage 2: samples; 50,000, or all held-out captions"
    )
    run.add_argument("--seed", type=int, default=0, help="stage 2: seed of the samples")
    images = parser.add_argument_group("of images")
    images.add_argument(
        "--caption_file",
        type=Path | None,
        default=None,
        help="captions for --clip_score: .txt, a line an image, or .jsonl or .csv with name and caption",
    )
    images.add_argument("--output", type=Path, default=Path("metrics.json"), help="where the numbers go")
    return parser


def main(args: list[str]) -> None:
    """Evaluate a run, or images, and print a table.

    Args:
        args: Command line, beginning with the sub-command's own name.
    """
    parser = build_parser()
    options = parser.instantiate_classes(parser.parse_args(args[1:]))

    import torch
    from rich.console import Console

    from textok.runs.processes import is_first, local_device, process_group

    device = torch.device(options.device) if options.device else local_device()
    console = Console(quiet=not is_first())
    if is_run(options.target):
        evaluation = open_run(options, device, console)
        measure = measure_run
    else:
        evaluation = open_image_set(options, device, console)
        measure = measure_images
    with process_group(device):
        file = measure(evaluation, options)
    if is_first():
        show(file, console)


def is_run(path: Path) -> bool:
    """Whether a path is a run folder, and not images.

    Raises:
        ValueError: If it is a folder of neither.
    """
    from textok.runs.image_files import FolderImages

    if (path / "config.yaml").is_file():
        return True
    if path.is_dir() and not len(FolderImages(path)):
        raise ValueError(f"{path} is no run folder (it holds no config.yaml), and there are no images in it either")
    return False


def distances_of(options: Namespace, needs_reference: bool = False):
    """The distances that were asked for; without anything to compare with, only those that compare with nothing."""
    from textok.metrics import DistributionMetrics

    metrics = options.metrics
    if metrics is None and needs_reference and options.reference is None:
        metrics = [key for key, measure in options.extractor.measures.items() if measure.kind == "score"]
    return None if metrics == [] else DistributionMetrics(options.extractor, metrics)


def open_run(options: Namespace, device: torch.device, console: Console) -> RunEvaluation:
    from textok.runs.evaluation import RunEvaluation

    return RunEvaluation(
        options.target,
        distances_of(options),
        options.clip_score,
        options.cache,
        options.reference,
        options.checkpoint,
        options.weights,
        device,
        console,
    )


def measure_run(evaluation: RunEvaluation, options: Namespace) -> Path:
    from textok.types import Generates

    if not isinstance(evaluation.module, Generates):
        return evaluation.reconstruction(options.captions, options.pairs)
    if options.prompts == "captions":
        return evaluation.captions(options.num_samples, options.batch_size, options.seed)
    count = 50_000 if options.num_samples is None else options.num_samples
    return evaluation.classes(count, options.batch_size, options.seed)


def open_image_set(options: Namespace, device: torch.device, console: Console) -> ImageEvaluation:
    from textok.runs.image_evaluation import ImageEvaluation

    return ImageEvaluation(
        options.target,
        options.reference,
        distances_of(options, needs_reference=True),
        options.pairs or (),
        options.clip_score,
        options.caption_file,
        device,
        options.batch_size,
        options.cache,
        console,
    )


def measure_images(evaluation: ImageEvaluation, options: Namespace) -> Path:
    return evaluation.measure(options.output)


def show(file: Path, console: Console) -> None:
    """Print an evaluation's numbers and warnings: a row a metric, a column a caption."""
    from rich.table import Table

    from textok.report.labels import CAPTIONS, split_caption

    record = json.loads(file.read_text())
    told = record["conventions"]
    rows: dict[str, dict[str, str]] = {}
    for name, value in record["metrics"].items():
        metric, ending = split_caption(name)
        rows.setdefault(metric, {})[ending] = f"{value:.5g}"
    endings = [ending for ending in CAPTIONS if any(ending in row for row in rows.values())]
    measured = told.get("checkpoint") or told.get("images")
    table = Table(title=f"{file.stem}: {told['num_images']:,} images, {measured}", title_justify="left")
    table.add_column("metric")
    for ending in endings:
        table.add_column(CAPTIONS[ending] if isinstance(told.get("captions"), list) else "value", justify="right")
    for metric, values in rows.items():
        table.add_row(metric, *(values.get(ending, "") for ending in endings))
    console.print(table)
    for warning in record["warnings"]:
        console.print(f"note: {warning}", soft_wrap=True, markup=False, highlight=False)
    console.print(f"every convention: {file}", soft_wrap=True, markup=False, highlight=False)

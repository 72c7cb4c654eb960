"""``textok evaluate``: what a run reached, or how good images on disk are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch
    from jsonargparse import ArgumentParser, Namespace
    from rich.console import Console

    from textok.runs.evaluation import RunEvaluation
    from textok.runs.image_evaluation import ImageEvaluation


def build_parser() -> ArgumentParser:
    from textok.runs.evaluation_options import evaluation_parser

    return evaluation_parser()


def main(args: list[str]) -> None:
    """Evaluate a run, or images, and print a table.

    Args:
        args: Command line, beginning with the sub-command's own name.
    """
    parser = build_parser()
    options = parser.instantiate_classes(parser.parse_args(args[1:]))

    from rich.console import Console

    from textok.runs.processes import chosen_device, is_first, process_group

    device = chosen_device(options.device)
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
    from textok.datamodules.sources import SUFFIXES

    if (path / "config.yaml").is_file():
        return True
    if path.is_dir() and not any(file.suffix.lower() in SUFFIXES for file in path.rglob("*")):
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
        options.overlays,
        options.output,
    )


def measure_run(evaluation: RunEvaluation, options: Namespace) -> Path:
    from textok.types import Generates

    if not isinstance(evaluation.module, Generates):
        return evaluation.reconstruction(options.captions, options.pairs, options.split)
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
    return evaluation.measure(options.output or Path("metrics.json"))


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

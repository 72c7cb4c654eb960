"""The options of ``textok evaluate``, which a sweep file gives to each of its runs as well."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from jsonargparse import ArgumentParser, Namespace

from textok.metrics import CLIPScore, FeatureExtractor, PairedMean
from textok.metrics.captioned import ENDINGS
from textok.types import Split

#: What stands beside a distance: its deviation, and the one between real images.
BESIDE = ("", "_std", "_floor")


def evaluation_parser() -> ArgumentParser:
    """The parser of ``textok evaluate``."""
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
    parser.add_argument(
        "--output",
        type=Path | None,
        default=None,
        help="where the numbers go: metrics.json if null, for a run a file of its folder evaluation",
    )
    parser.add_argument("--batch_size", type=int, default=64, help="samples made, or images read, at once")
    parser.add_argument("--device", type=str | None, default=None, help="where to compute; a GPU if there is one")
    run = parser.add_argument_group("of a run")
    run.add_argument("--checkpoint", type=Path | None, default=None, help="a checkpoint of it; the newest if null")
    run.add_argument("--weights", type=Literal["ema", "raw"], default="ema", help="the averages, or the raw weights")
    run.add_argument(
        "--overlays",
        type=list[str | dict[str, Any]],
        default=[],
        help="configurations on top of the run's own, such as [configs/sampler/ddpm250.yaml]; needs "
        "--output, to leave the run's own numbers alone",
    )
    run.add_argument(
        "--captions", type=list[str], default=["own", "empty", "other"], help="stage 1: captions to reconstruct with"
    )
    run.add_argument(
        "--split",
        type=Split,
        default="held_out",
        help="stage 1: the images to reconstruct; those of train tell what was learned by heart",
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
        help="captions for --clip_score: .txt, a line an image; or .jsonl, .csv, .tsv, .parquet with name and caption",
    )
    return parser


def measured_names(options: Namespace) -> set[str]:
    """Every number that an evaluation of a run with these options may give.

    Args:
        options: Instantiated options.

    Raises:
        ValueError: If they name a kind of caption that there is not.
    """
    unknown = set(options.captions) - ENDINGS.keys()
    if unknown:
        raise ValueError(f"captions must be among {', '.join(ENDINGS)}; got {sorted(unknown)}")
    keys = set(options.extractor.measures) if options.metrics is None else set(options.metrics)
    distances = {f"{key}{ending}" for key in keys for ending in BESIDE}
    pairs = {"psnr", "ssim"} if options.pairs is None else {pair.name for pair in options.pairs}
    clip = set() if options.clip_score is None else {options.clip_score.name}
    reconstruction = {f"r{name}" for name in distances} | pairs | clip
    names = {f"{name}{ENDINGS[kind]}" for name in reconstruction for kind in options.captions}
    names |= {f"g{name}" for name in distances} | {f"t2i_{name}" for name in distances | clip}
    return names | {"seconds_per_image"}

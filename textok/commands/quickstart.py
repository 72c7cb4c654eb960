"""``textok quickstart``: both stages on embedded pictures, by the same ``fit`` as everything else.

Stage 1 trains a text-conditioned tokenizer with its discriminator, stage 2 a DiT on its frozen latents: of classes, or
with ``--text`` of captions. Each is one ``textok fit`` on YAML from ``configs/quickstart``; started again, it goes on
from the last checkpoint, and a tokenizer that is there already serves both kinds of stage 2.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.table import Table

CONFIGS = Path(__file__).parents[1] / "configs"
#: Each stage's files of configs/quickstart, from left to right.
FILES = {
    "tokenizer": ["tokenizer", "pair"],
    "generator": ["generator", "pair"],
    "text": ["generator", "pair", "generator_text"],
}
#: What ``--fast`` adds to these.
FAST = {"tokenizer": ["tokenizer_fast"], "generator": ["generator_fast"], "text": ["generator_fast"]}


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="textok quickstart",
        description="Train a tokenizer and a generator on 1,599 captioned emoji and show what they learned. "
        "Interrupted and started again, it goes on from the last checkpoint.",
    )
    parser.add_argument("--output", type=Path, default=Path("quickstart"), help="folder of the runs (quickstart)")
    parser.add_argument("--seed", type=int, default=0, help="seed of everything (0)")
    parser.add_argument("--text", action="store_true", help="generate from captions instead of classes")
    parser.add_argument(
        "--fast", action="store_true", help="a first look: few steps at 16 pixels, pictures stay blurred"
    )
    return parser


def main(args: list[str]) -> None:
    """Run the quickstart.

    Args:
        args: Command line, beginning with the sub-command's own name.
    """
    options = build_parser().parse_args(args[1:])
    stages = {stage: options.output / stage for stage in ("tokenizer", "text" if options.text else "generator")}
    for stage, folder in stages.items():
        fit(stage, folder, options)
    show(stages)


def fit(stage: str, folder: Path, options: argparse.Namespace) -> None:
    """One stage as one ``textok fit``; prints the command that does the same by hand."""
    from rich.console import Console

    from textok.runs.parser import TextokCLI

    names = FILES[stage] + (FAST[stage] if options.fast else [])
    configs = [CONFIGS / "base.yaml", *(CONFIGS / "quickstart" / f"{name}.yaml" for name in names)]
    command = ["fit", *(part for config in configs for part in ("--config", str(config)))]
    command += ["--run", str(folder), "--seed_everything", str(options.seed)]
    if stage != "tokenizer":
        command += ["--model.init_args.tokenizer_checkpoint", str(options.output / "tokenizer")]
    Console().print(f"[dim]$ textok {' '.join(command)}", soft_wrap=True)
    TextokCLI(command)


def show(stages: dict[str, Path]) -> None:
    """Print what was trained, how long it took, how good it is and where the pictures are."""
    from rich.console import Console
    from rich.table import Table

    tokenizer, generator = (json.loads((folder / "metrics.json").read_text()) for folder in stages.values())
    table = Table(title="textok quickstart", show_header=False, title_justify="left")
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")  # a path that is cut off helps nobody
    for record, name in ((tokenizer, "stage 1, tokenizer"), (generator, "stage 2, generator")):
        minutes = record["training_seconds"] / 60
        table.add_row(name, f"{record['step']:,} steps, {record['images_seen']:,} images, {minutes:.1f} minutes")
    table.add_section()
    values = tokenizer["metrics"]
    for ending, caption in (("", "own caption"), ("_empty", "no caption"), ("_other", "another image's")):
        quality = f"PSNR {values[f'val/psnr{ending}']:.2f} dB   SSIM {values[f'val/ssim{ending}']:.4f}"
        table.add_row(f"held-out, {caption}", quality)
    table.add_section()
    table.add_row("reconstructions", str(stages["tokenizer"] / "pictures" / "reconstruction.png"))
    if "text" in stages:
        more = add_prompts(table, stages["text"])
    else:
        table.add_row("samples", str(stages["generator"] / "pictures" / "samples.png"))
        more = f"textok generate {stages['generator']} --label 0 --num_images 4"
    table.add_row("curves", "\n".join(str(folder / "curves.csv") for folder in stages.values()))
    table.add_row("checkpoints", "\n".join(str(folder / "checkpoints") for folder in stages.values()))
    Console().print(table)
    Console().print(f"more pictures: {more}", soft_wrap=True, markup=False, highlight=False)  # to be copied, not cut


def add_prompts(table: Table, folder: Path) -> str:
    """Where the grid of prompts is and what training knows of them; returns the command that asks for more."""
    captions = json.loads((folder / "pictures" / "prompts.json").read_text())["captions"]
    known = [entry["own"] for entry in captions if entry["seen"]]
    new = [entry["own"] for entry in captions if not entry["seen"]]
    table.add_row("samples of prompts", str(folder / "pictures" / "prompts.png"))
    for name, prompts in (("training captions", known), ("not in training", new)):
        table.add_row(f"{len(prompts)} {name}", ", ".join(prompt.split(",")[0] for prompt in prompts))
    return f'textok generate {folder} --prompt "{new[0]}" --num_images 4'

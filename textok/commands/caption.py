"""``textok caption``: captions of a dataset by a vision-language model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jsonargparse import ArgumentParser


def build_parser() -> ArgumentParser:
    from jsonargparse import ArgumentParser

    from textok.datamodules import ImageDataModule
    from textok.models.captioner import Captioner

    parser = ArgumentParser(
        prog="textok caption",
        description="Caption every image of a dataset by a vision-language model, into a JSONL file and a caption "
        "bank. Killed and started again, it goes on where it was; started by torchrun, each process takes its share.",
        exit_on_error=False,
    )
    parser.add_argument("--config", "-c", action="config", help="options from YAML, as configs/data/*.yaml")
    parser.add_argument("--data", type=ImageDataModule, required=True, help="the datamodule")
    parser.add_class_arguments(Captioner, "model")
    parser.add_argument("--output", type=Path, required=True, help="folder of the captions and the bank")
    parser.add_argument("--batch_size", type=int, default=16, help="images captioned at once")
    parser.add_argument("--device", type=str | None, default=None, help="where to compute; a GPU if there is one")
    return parser


def main(args: list[str]) -> None:
    """Caption a dataset.

    Args:
        args: Command line, beginning with the sub-command's own name.
    """
    parser = build_parser()
    options = parser.instantiate_classes(parser.parse_args(args[1:]))

    from rich.console import Console

    from textok.runs.captioning import caption_dataset
    from textok.runs.processes import chosen_device, is_first, process_group

    device = chosen_device(options.device)
    options.data.setup()
    options.model.load(device)
    with process_group(device):
        console = Console(quiet=not is_first())
        caption_dataset(options.output, options.data, options.model, options.batch_size, console)

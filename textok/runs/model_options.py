"""What the commands on a trained model share: which model, where to compute, and how pictures are written."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL import Image

    from textok.pipeline import TexTokPipeline


def model_parser(command: str, description: str) -> argparse.ArgumentParser:
    """A parser that knows the model and where to compute."""
    parser = argparse.ArgumentParser(
        prog=f"textok {command}", description=description, exit_on_error=False, allow_abbrev=False
    )
    parser.add_argument("model", help="exported folder, name on the hub, or run folder")
    parser.add_argument("--device", help="where to compute; the accelerator by default, if there is one")
    parser.add_argument("--memory", type=float, default=2.0, help="GiB that a batch may take beside the weights (2)")
    parser.add_argument("--compile", action="store_true", help="compile the blocks, for many pictures on a GPU")
    parser.add_argument("--cut", action="store_true", help="cut captions that are too long, instead of refusing them")
    return parser


def add_pictures(parser: argparse.ArgumentParser) -> None:
    """The arguments of the commands that read pictures and what they show."""
    parser.add_argument("files", nargs="+", type=Path, help="pictures")
    parser.add_argument("--caption", action="append", help="what they show: once for all, or once for each")


def open_pipeline(options: argparse.Namespace) -> TexTokPipeline:
    """The model that the options name, on their device.

    Raises:
        ValueError: If there is none.
    """
    from textok.runs.export import open_model
    from textok.runs.processes import chosen_device

    device = chosen_device(options.device)
    pipeline = open_model(options.model, device, options.memory)
    return pipeline.compile() if options.compile else pipeline


def write_pictures(path: Path, rows: Sequence[Sequence[Image.Image]], row_labels: Sequence[str] = ()) -> None:
    """One picture as it is, several as a grid.

    Args:
        path: The file.
        rows: Rows of pictures of one size.
        row_labels: A label for each row of a grid.
    """
    import numpy as np
    import torch

    from textok.callbacks.drawing import draw_grid
    from textok.storage import atomic_path

    if sum(map(len, rows)) == 1:
        picture = rows[0][0]
    else:
        tiles = [[torch.from_numpy(np.array(each)).permute(2, 0, 1) for each in row] for row in rows]
        picture = draw_grid(tiles, row_labels)
    try:
        with atomic_path(path) as temporary:
            picture.save(temporary)
    except (ValueError, KeyError) as error:
        raise ValueError(f"{path} cannot be written ({error}): give a name that ends in .png") from error
    print(f"written to {path}")

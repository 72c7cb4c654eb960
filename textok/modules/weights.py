"""Reading one stage's weights into another model, strictly and by name."""

from __future__ import annotations

import re
from pathlib import Path

import torch
from torch import nn

from textok.models.state import fingerprint, load_strictly
from textok.storage import is_sharded, read_sharded


def checkpoint_step(path: Path) -> int:
    """The step in a checkpoint's name, −1 if there is none."""
    found = re.search(r"step(\d+)", path.name)
    return int(found.group(1)) if found else -1


def checkpoints_of(run: Path) -> list[Path]:
    """All checkpoints of a run folder, oldest first; their names carry the step."""
    return sorted((run / "checkpoints").glob("step*.ckpt"), key=checkpoint_step)


def find_checkpoint(path: Path) -> Path:
    """The checkpoint meant by a path: the file itself, or the newest one of a run folder."""
    if path.is_file() or is_sharded(path):
        return path
    found = checkpoints_of(path)
    if not found:
        raise ValueError(f"{path} is neither a checkpoint nor a run folder with checkpoints/step*.ckpt in it")
    return found[-1]


def read_checkpoint(path: Path) -> dict:
    """A checkpoint's contents on the CPU, whole or put together from shards; one that carries code is refused."""
    try:
        if path.is_dir():
            return read_sharded(path)
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds for a damaged file
        raise ValueError(f"checkpoint {path} cannot be read ({type(error).__name__}: {error})") from None


def load_averaged_pair(textok: nn.Module, path: str | Path) -> None:
    """Load the averaged weights of a stage-1 checkpoint into a pair.

    Raises:
        ValueError: If the checkpoint is of no stage 1, or a key or a shape does not fit; the keys are named.
    """
    path = find_checkpoint(Path(path))
    state = read_checkpoint(path).get("state_dict", {})
    averaged = {key.removeprefix("ema."): value for key, value in state.items() if key.startswith("ema.tokenizer.")}
    averaged |= {key.removeprefix("ema."): value for key, value in state.items() if key.startswith("ema.detokenizer.")}
    if not averaged:
        raise ValueError(f"{path} holds no averaged pair (no keys under ema.tokenizer): it is no stage-1 checkpoint")
    remedy = "Use the textok, text_encoder and image_size that stage 1 was trained with"
    load_strictly(textok, averaged, f"the pair of {path} does not fit this configuration's textok", remedy)


def load_averaged_generator(generator: nn.Module, textok: nn.Module, path: str | Path) -> None:
    """Load the averaged weights of a stage-2 checkpoint into a generator.

    Args:
        generator: The network to fill.
        textok: The pair whose latents it is to be used on; that of the checkpoint must be the same.
        path: The checkpoint, or its run folder.

    Raises:
        ValueError: If the checkpoint is of no stage 2 or of another pair, or a key or a shape does not fit.
    """
    path = find_checkpoint(Path(path))
    state = read_checkpoint(path).get("state_dict", {})
    pair = {key.removeprefix("textok."): value for key, value in state.items() if key.startswith("textok.")}
    if "normalizer.mean" not in state:
        raise ValueError(f"{path} holds no generator (no latent normaliser in it): it is no stage-2 checkpoint")
    if fingerprint(pair) != fingerprint(textok.state_dict()):
        raise ValueError(f"the generator of {path} was trained on the latents of another pair: it cannot be used here")
    averaged = {key.removeprefix("ema."): value for key, value in state.items() if key.startswith("ema.")}
    remedy = "Name its class and sizes as `network`"
    load_strictly(generator, averaged, f"the generator of {path} is another network", remedy)

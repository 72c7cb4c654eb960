"""Reading one stage's weights into another model, strictly and by name."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import torch
from torch import Tensor, nn


def checkpoint_step(path: Path) -> int:
    """The step in a checkpoint's name, −1 if there is none."""
    found = re.search(r"step(\d+)", path.name)
    return int(found.group(1)) if found else -1


def checkpoints_of(run: Path) -> list[Path]:
    """All checkpoints of a run folder, oldest first; their names carry the step."""
    return sorted((run / "checkpoints").glob("step*.ckpt"), key=checkpoint_step)


def find_checkpoint(path: Path) -> Path:
    """The checkpoint meant by a path: the file itself, or the newest one of a run folder."""
    if path.is_file():
        return path
    found = checkpoints_of(path)
    if not found:
        raise ValueError(f"{path} is neither a checkpoint nor a run folder with checkpoints/step*.ckpt in it")
    return found[-1]


def read_checkpoint(path: Path) -> dict:
    """A checkpoint's contents on the CPU; one that carries code is refused."""
    try:
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
    _load_strictly(textok, averaged, f"the pair of {path} does not fit this configuration's textok", remedy)


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
    _load_strictly(generator, averaged, f"the generator of {path} is another network", remedy)


def _load_strictly(network: nn.Module, state: dict[str, Tensor], complaint: str, remedy: str) -> None:
    """Load a state dict that must fit, or name the first keys that do not."""
    problems = mismatches(network.state_dict(), state)
    if problems:
        shown = "\n  ".join(problems[:12]) + (f"\n  … and {len(problems) - 12} more" if len(problems) > 12 else "")
        raise ValueError(f"{complaint}:\n  {shown}\n{remedy}")
    network.load_state_dict(state, strict=True)


def fingerprint(state: dict[str, Tensor]) -> str:
    """SHA-256 of the names, types, shapes and values of a state dict: the same on every machine and device."""
    digest = hashlib.sha256()
    for name in sorted(state):
        value = state[name].detach().cpu().contiguous()
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}\n".encode())
        digest.update(value.reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


def mismatches(expected: dict[str, Tensor], found: dict[str, Tensor]) -> list[str]:
    """One line for every key that is missing, unexpected, or of another shape."""
    lines = [
        f"shape: {key} is {tuple(found[key].shape)}, this model has {tuple(expected[key].shape)}"
        for key in expected
        if key in found and expected[key].shape != found[key].shape
    ]
    lines += [f"missing: {key} {tuple(expected[key].shape)}" for key in expected if key not in found]
    lines += [f"unexpected: {key} {tuple(found[key].shape)}" for key in found if key not in expected]
    return lines

"""Load what a run trained, without its data and without a Trainer."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

import torch

from textok.datamodules import ImageDataModule
from textok.modules import TrainingModule
from textok.modules.weights import mismatches, read_checkpoint
from textok.runs.folder import RunFolder

if TYPE_CHECKING:
    from textok.runs.parser import TextokCLI


def default_device() -> torch.device:
    """The accelerator where there is one, else the CPU."""
    return torch.accelerator.current_accelerator() if torch.accelerator.is_available() else torch.device("cpu")


def load_data(folder: str | Path) -> ImageDataModule:
    """The datamodule of a run folder, not set up yet.

    Raises:
        ValueError: If the folder holds no run.
    """
    return parsed_run(folder).build_data()


def load_run(
    folder: str | Path,
    weights: Literal["ema", "raw"] = "ema",
    checkpoint: str | Path | None = None,
    device: torch.device | str = "cpu",
) -> TrainingModule:
    """The module of a run folder with its weights, in evaluation mode; its configuration is parsed as ``fit`` does.

    Args:
        folder: The run folder.
        weights: Which weights ``reconstruct`` and ``generate`` use: the averages, or the raw ones.
        checkpoint: A checkpoint of the run; the newest by default.
        device: Where to put the module.

    Raises:
        ValueError: If the folder holds no run, or its checkpoint does not fit its configuration.
    """
    run = RunFolder(folder)
    cli = parsed_run(folder)
    file = Path(checkpoint) if checkpoint is not None else run.newest_checkpoint()
    state = read_checkpoint(file)
    with torch.random.fork_rng():  # initial weights, about to be replaced, take none of the caller's random numbers
        module = cli.build_model()
    problems = mismatches(module.state_dict(), state["state_dict"])
    if problems:
        raise ValueError(f"{file} does not fit {run.config_file}:\n  " + "\n  ".join(problems[:12]))
    module.load_state_dict(state["state_dict"], strict=True)
    module.on_load_checkpoint(state)
    if weights == "raw":
        module.ema.load_state_dict(module.trained.state_dict())
    module.to(device).configure_model()
    return module.eval()


def parsed_run(folder: str | Path) -> TextokCLI:
    """The configuration of a run folder, parsed as ``fit`` does; nothing is built.

    Raises:
        ValueError: If the folder holds no run.
    """
    from textok.runs.parser import TextokCLI

    return TextokCLI(RunFolder(folder).config(), run=False)

"""Load what a run trained, without its data and without a Trainer."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch

from textok.datamodules import ImageDataModule
from textok.models.state import load_strictly
from textok.modules import TrainingModule
from textok.modules.weights import read_checkpoint
from textok.runs.folder import RunFolder

if TYPE_CHECKING:
    from textok.runs.parser import TextokCLI


def load_data(folder: str | Path, overlays: Sequence[str | dict[str, Any]] = ()) -> ImageDataModule:
    """The datamodule of a run folder, not set up yet.

    Args:
        folder: The run folder.
        overlays: Configurations on top of the run's own: YAML files, or dictionaries.

    Raises:
        ValueError: If the folder holds no run.
    """
    return parsed_run(folder, overlays).build_data()


def load_run(
    folder: str | Path,
    weights: Literal["ema", "raw"] = "ema",
    checkpoint: str | Path | None = None,
    device: torch.device | str = "cpu",
    overlays: Sequence[str | dict[str, Any]] = (),
) -> TrainingModule:
    """The module of a run folder with its weights, in evaluation mode; its configuration is parsed as ``fit`` does.

    Args:
        folder: The run folder.
        weights: Which weights ``reconstruct`` and ``generate`` use: the averages, or the raw ones.
        checkpoint: A checkpoint of the run; the newest by default.
        device: Where to put the module.
        overlays: Configurations on top of the run's own, such as another sampler: YAML files, or dictionaries. What
            they change must fit the weights.

    Raises:
        ValueError: If the folder holds no run, or its checkpoint does not fit its configuration.
    """
    run = RunFolder(folder)
    cli = parsed_run(folder, overlays)
    file = Path(checkpoint) if checkpoint is not None else run.newest_checkpoint()
    state = read_checkpoint(file)
    with torch.random.fork_rng():  # initial weights, about to be replaced, take none of the caller's random numbers
        module = cli.build_model()
    remedy = "Use the configuration that it was trained with"
    load_strictly(module, state["state_dict"], f"{file} does not fit {run.config_file}", remedy)
    module.on_load_checkpoint(state)
    if weights == "raw":
        module.ema.load_state_dict(module.trained.state_dict())
    module.to(device).configure_model()
    return module.eval()


def parsed_run(folder: str | Path, overlays: Sequence[str | dict[str, Any]] = ()) -> TextokCLI:
    """The configuration of a run folder, parsed as ``fit`` does; nothing is built.

    Args:
        folder: The run folder.
        overlays: Configurations on top of the run's own: YAML files, or dictionaries.

    Raises:
        ValueError: If the folder holds no run.
        ArgumentError: If an overlay does not fit.
    """
    from textok.runs.parser import TextokCLI

    run = RunFolder(folder)
    if not overlays:
        return TextokCLI(run.config(), run=False)
    run.config()  # tells what is wrong with the folder
    configs = [str(run.config_file), *(json.dumps(each) if isinstance(each, dict) else each for each in overlays)]
    return TextokCLI([part for config in configs for part in ("--config", config)], run=False)

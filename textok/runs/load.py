"""Load what a run trained, without its data and without a Trainer."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import torch
import yaml

from textok.modules import TrainingModule
from textok.modules.weights import mismatches, read_checkpoint
from textok.runs.folder import RunFolder


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
    from textok.runs.parser import TextokCLI

    run = RunFolder(folder)
    if not run.config_file.is_file():
        raise ValueError(f"{folder} is no run folder: it holds no config.yaml")
    file = Path(checkpoint) if checkpoint is not None else run.newest_checkpoint()
    state = read_checkpoint(file)
    with torch.random.fork_rng():  # initial weights, about to be replaced, take none of the caller's random numbers
        module = TextokCLI(yaml.safe_load(run.config_file.read_text()), run=False).model
    problems = mismatches(module.state_dict(), state["state_dict"])
    if problems:
        raise ValueError(f"{file} does not fit {run.config_file}:\n  " + "\n  ".join(problems[:12]))
    module.load_state_dict(state["state_dict"], strict=True)
    module.on_load_checkpoint(state)
    if weights == "raw":
        module.ema.load_state_dict(module.trained.state_dict())
    module.to(device).configure_model()
    return module.eval()

"""From a run folder to a pipeline: the averaged weights, without what only training needs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from textok.callbacks import ResultsWriter
from textok.models import TextEncoder
from textok.modules.weights import read_checkpoint
from textok.pipeline import Description, TexTokPipeline
from textok.pipeline.networks import Networks, instantiate
from textok.runs.folder import RunFolder
from textok.types import Sizes

#: Where an exported part's weights lie in a checkpoint of each stage.
STAGE_1 = {"pair.": "ema."}
STAGE_2 = {"pair.": "textok.", "dit.": "ema."}


def pipeline_of_run(
    folder: str | Path, checkpoint: Path | None = None, device: torch.device | str = "cpu", memory: float = 2.0
) -> TexTokPipeline:
    """The pipeline of a run's averaged weights.

    Args:
        folder: The run folder, of either stage.
        checkpoint: A checkpoint of the run; the newest by default.
        device: Where to compute.
        memory: GiB that one batch may take beside the weights.

    Raises:
        ValueError: If the folder holds no run, or the checkpoint does not fit its configuration.
    """
    run = RunFolder(folder)
    config = run.config()
    file = checkpoint or run.newest_checkpoint()
    contents = read_checkpoint(file)
    description = describe(config, contents.get("class_names", []))
    packages = _packages(config["model"])  # the configuration is the user's own
    with torch.random.fork_rng():
        networks = Networks(description, packages)
    parts = STAGE_2 if description.has_generator else STAGE_1
    state = {}
    for name in networks.state_dict():
        part = next((part for part in parts if name.startswith(part)), "")
        source = parts.get(part, "") + name.removeprefix(part)
        if source in contents["state_dict"]:
            state[name] = contents["state_dict"][source]
    try:
        networks.load(state)
    except ValueError as error:
        raise ValueError(f"{file} does not fit {run.config_file}: {error}") from error
    if description.has_generator and not networks.normalizer.is_fitted:
        raise ValueError(f"{file} was written before the first step of stage 2: there is nothing to export")
    numbers = _numbers(run.path / ResultsWriter.FILE)
    return TexTokPipeline(description, networks.to(device), contents.get("class_captions", []), numbers, memory)


def open_model(name: str, device: torch.device | str, memory: float = 2.0) -> TexTokPipeline:
    """The model that a command line names: a run folder, an exported folder or a model of the hub.

    Raises:
        ValueError: If it is none of these.
    """
    if RunFolder(name).config_file.is_file():
        return pipeline_of_run(name, device=device, memory=memory)
    return TexTokPipeline.from_pretrained(name, device, memory=memory)


def describe(config: dict[str, Any], class_names: list[str]) -> Description:
    """A run's configuration as a pipeline's description.

    Args:
        config: The resolved configuration.
        class_names: The classes' names, where the checkpoint knows them.
    """
    model, data = config["model"]["init_args"], config["data"]["init_args"]
    encoder = instantiate(
        {"text_encoder": TextEncoder | None}, {"text_encoder": model["text_encoder"]}, _packages(config["model"])
    )["text_encoder"]
    sizes = Sizes(
        data["image_size"],
        data["num_classes"],
        text_dim=encoder.dim if encoder is not None else 0,
        num_text_tokens=encoder.num_tokens if encoder is not None else 0,
    )
    generator = {name: model[name] for name in ("dit", "process", "sampler")} if "dit" in model else {}
    return Description(sizes, model["textok"], model["text_encoder"], class_names=class_names, **generator)


def _packages(value: Any) -> list[str]:
    """The packages of all classes that a configuration names."""
    if isinstance(value, dict):
        own = [str(value["class_path"]).split(".")[0]] if "class_path" in value else []
        return own + [package for each in value.values() for package in _packages(each)]
    return [package for each in value for package in _packages(each)] if isinstance(value, list) else []


def _numbers(path: Path) -> dict[str, float | None]:
    if not path.is_file():
        return {}
    return json.loads(path.read_text()).get("metrics", {})

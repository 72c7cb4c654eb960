"""What the checks of ``doctor`` look at: a parsed configuration, and what can be built from it without training."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePath
from pkgutil import resolve_name
from typing import Any, Literal

from jsonargparse import Namespace
from lightning.pytorch.strategies import FSDPStrategy, ModelParallelStrategy, StrategyRegistry

from textok.datamodules import ImageDataModule
from textok.modules import TrainingModule
from textok.planning.estimate import Assumptions, Estimate, estimate
from textok.planning.gpus import Gpu, find_gpu
from textok.planning.rehearsal import build_on_meta
from textok.runs.parser import TextokCLI

Severity = Literal["error", "warning", "note", "ok"]


@dataclass(frozen=True)
class Finding:
    """One thing that a check found.

    Args:
        severity: An error ends the run or makes it worthless; a warning costs time or quality; a note is good to
            know; ok says that a check found nothing.
        what: What is so, with the value.
        remedy: What to do about it; empty for a note or an ok.
    """

    severity: Severity
    what: str
    remedy: str = ""


class Plan:
    """A run as it is planned; every part is built once, on first use.

    Args:
        cli: The configuration, parsed with ``run=False``.
        gpu: The kind of GPU it shall run on; None for this machine, as far as the configuration asks for one.
        devices: How many of them; None takes the configuration's.
        folder: The run's folder, or where it will be.
    """

    def __init__(
        self, cli: TextokCLI, gpu: Gpu | None = None, devices: int | None = None, folder: Path | None = None
    ) -> None:
        self.cli = cli
        self.config = cli.config
        self.named_gpu = gpu
        self.folder = folder
        self.world = devices if devices is not None else configured_devices(cli.config.trainer)
        if self.world < 1:
            raise ValueError(f"--gpus must be at least 1, got {self.world}")

    @cached_property
    def module(self) -> TrainingModule:
        """The module on the meta device; raises ValueError where its choices do not fit each other."""
        return build_on_meta(self.cli)

    @cached_property
    def data(self) -> ImageDataModule:
        """The datamodule, set up; raises ValueError or OSError where the data are not as they should be."""
        data = self.cli.build_data()
        data.setup()
        return data

    @cached_property
    def estimate(self) -> Estimate:
        gpu = self.named_gpu if self.named_gpu is not None else find_gpu("h100")
        return estimate(self.cli, Assumptions(gpu, self.world, num_images=len(self.data.splits.train)))

    @cached_property
    def callbacks(self) -> list[Any]:
        """The configured callbacks, built but not set up."""
        chosen = Namespace(trainer=Namespace(callbacks=self.config.trainer.callbacks))
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="(?s).*instantiate_classes")
            return list(self.cli.parser.instantiate_classes(chosen).trainer.callbacks or [])

    @property
    def is_sharded(self) -> bool:
        """Whether the configured strategy spreads weights over the devices."""
        strategy = self.config.trainer.strategy
        if not isinstance(strategy, Namespace):  # a short name, ``auto`` among them
            kind = StrategyRegistry[strategy]["strategy"] if strategy in StrategyRegistry else object
        else:
            kind = resolve_name(strategy.class_path)
        return issubclass(kind, (ModelParallelStrategy, FSDPStrategy))

    def paths(self) -> Iterator[tuple[str, Path]]:
        """Every argument of type ``Path`` in the data and model sections, by its key: what is read, never written."""
        for section in ("data", "model"):
            yield from _paths(self.config[section], section)

    @property
    def reads_captions(self) -> bool:
        """Whether training runs the text encoder: a half reads captions, and no cache has their tokens."""
        cached = self.config.data.init_args.get("text_cache") is not None
        return self.module.text_encoder is not None and self.module.needs_text and not cached


def configured_devices(trainer: Namespace) -> int:
    """Processes that a configuration asks for, as far as it says so: ``auto`` counts as one."""
    devices = trainer.devices
    if isinstance(devices, str) and devices.isdigit():
        devices = int(devices)
    each = len(devices) if isinstance(devices, list) else devices if isinstance(devices, int) and devices > 0 else 1
    return each * trainer.num_nodes


def _paths(value: Any, key: str) -> Iterator[tuple[str, Path]]:
    if isinstance(value, PurePath):
        yield key, Path(value).expanduser()
    elif isinstance(value, Namespace | dict):
        for name, child in vars(value).items() if isinstance(value, Namespace) else value.items():
            yield from _paths(child, f"{key}.{name}")
    elif isinstance(value, list | tuple):
        for number, child in enumerate(value):
            yield from _paths(child, f"{key}[{number}]")

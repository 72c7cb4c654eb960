"""A sweep file: what some runs share, what differs between them, and what is measured of each.

Axes of named overlays span the cells; a cell is trained once a seed. Files are named relative to the sweep file, or as
they lie in the ``configs`` that textok ships.
"""

from __future__ import annotations

import argparse
import copy
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from textok.runs.messages import explain, nearest

#: Where the shipped configurations lie.
CONFIGS = Path(__file__).parents[1] / "configs"
#: A YAML file, or a piece of configuration written out.
Config = str | dict[str, Any]

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+_-]*")


@dataclass(frozen=True)
class Overlay:
    """One value of an axis.

    Args:
        name: A part of the runs' names: letters, digits and the signs . + - _
        title: What table and plots call it; the name where there is none.
        configs: Overlays of every stage: YAML files, or configurations written out.
        first_stage: Overlays of stage 1 alone.
        second_stage: Overlays of stage 2 alone.
    """

    name: str
    title: str | None = None
    configs: list[Config] = field(default_factory=list)
    first_stage: list[Config] = field(default_factory=list)
    second_stage: list[Config] = field(default_factory=list)


@dataclass(frozen=True)
class Axis:
    """What differs between runs in one respect: named overlays, or the values of one key.

    Args:
        name: What the sweep file calls it.
        title: What table and plots call it; the name where there is none.
        overlays: Its values, as overlays.
        key: Instead of overlays: a dotted key of the configuration …
        values: … and the values that it takes.
    """

    name: str
    title: str | None = None
    overlays: list[Overlay] = field(default_factory=list)
    key: str | None = None
    values: list[Any] = field(default_factory=list)

    def choices(self) -> list[Overlay]:
        """The axis's overlays, in their order."""
        if self.key is None:
            return self.overlays
        return [Overlay(str(value), configs=[nested(self.key, value)]) for value in self.values]


@dataclass(frozen=True)
class SecondStage:
    """A generator that is trained on the latents of each cell's tokenizer.

    Args:
        configs: Its configurations, without ``tokenizer_checkpoint``: that is the cell's run of stage 1.
        evaluate: Options of ``textok evaluate``: YAML files, or options written out; not evaluated if null.
    """

    configs: list[Config]
    evaluate: list[Config] | None = None


@dataclass(frozen=True)
class Sweep:
    """What a sweep file holds.

    Args:
        title: What stands above the table.
        axes: What differs between the runs; every combination is a cell.
        metrics: Columns of the table: numbers of the evaluation (``rfid``, ``psnr``), of the run's own validation
            (``val/psnr``), or ``training_seconds``.
        configs: Configurations that the runs of stage 1, or of the only stage, share; overlays come after them.
        evaluate: Options of ``textok evaluate``: YAML files, or options written out; not evaluated if null.
        seeds: Each cell is trained once a seed.
        second_stage: A generator on the latents of each cell's tokenizer.
        run: Instead of ``configs``: a finished run that is only evaluated, with each cell's overlays on its
            configuration; the seeds are those of its samples.
        x: The axis along which a plot runs; the first one where nothing is said.
        series: The axis whose values are the lines of a plot; the second one where nothing is said.
        baseline: The value of ``series`` that the others are compared with.
    """

    title: str
    axes: list[Axis]
    metrics: list[str]
    configs: list[Config] = field(default_factory=list)
    evaluate: list[Config] | None = None
    seeds: list[int] = field(default_factory=lambda: [0])
    second_stage: SecondStage | None = None
    run: str | None = None
    x: str | None = None
    series: str | None = None
    baseline: str | None = None

    def __post_init__(self) -> None:
        # A frozen dataclass fills what follows from the rest only so.
        names = [axis.name for axis in self.axes]
        object.__setattr__(self, "x", self.x or next(iter(names), None))
        object.__setattr__(self, "series", self.series or next((name for name in names if name != self.x), None))


def read_sweep(path: str | Path) -> Sweep:
    """Read a sweep file.

    Raises:
        ValueError: If it is none, with the key and the reason.
    """
    from jsonargparse import ArgumentParser

    path = Path(path)
    if not path.is_file():
        raise ValueError(f"{path} is no sweep file: there is no such file")
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(Sweep, "sweep")
    content = _read_yaml(path)
    try:
        parser.parse_object({"sweep": copy.deepcopy(content)})
        # Made from the file itself: the parser would build the classes that its pieces of configuration name.
        sweep = _built(content)
    except argparse.ArgumentError as error:
        raise ValueError(f"{path}: {explain(str(error)).replace('sweep.', '')}") from error
    try:
        check_names(sweep)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    return sweep


def check_names(sweep: Sweep) -> None:
    """Whether names are usable, unique and known to each other.

    Raises:
        ValueError: With the first that is not.
    """
    if not sweep.axes:
        raise ValueError("axes is empty: a sweep needs at least one axis")
    if bool(sweep.configs) == bool(sweep.run):
        raise ValueError("give either configs to train or the run that is only to be evaluated")
    if sweep.run and (sweep.second_stage or not sweep.evaluate):
        raise ValueError("a run that is only evaluated needs evaluate, and has no second_stage")
    if not sweep.metrics:
        raise ValueError("metrics is empty: name at least one number for the table")
    if not sweep.seeds:
        raise ValueError("seeds is empty: name at least one")
    check_unique("axis", [axis.name for axis in sweep.axes])
    check_unique("seed", map(str, sweep.seeds))
    check_unique("metric", sweep.metrics)
    for axis in sweep.axes:
        if bool(axis.overlays) == bool(axis.key and axis.values):
            raise ValueError(f"axis {axis.name} needs either overlays, or a key and its values")
        names = [choice.name for choice in axis.choices()]
        check_unique(f"value of axis {axis.name}", names)
        for name in names:
            if not _NAME.fullmatch(name):
                raise ValueError(f"{name!r} of axis {axis.name} names folders: use letters, digits and . + - _ alone")
    axes = {axis.name: axis for axis in sweep.axes}
    for role, name in (("x", sweep.x), ("series", sweep.series)):
        if name is not None and name not in axes:
            raise ValueError(f"{role} is {name!r}, which is no axis{nearest(name, axes)}")
    if sweep.x == sweep.series:
        raise ValueError(f"x and series are both {sweep.x!r}: name two axes")
    if sweep.baseline is not None:
        values = [] if sweep.series is None else [choice.name for choice in axes[sweep.series].choices()]
        if sweep.baseline not in values:
            raise ValueError(
                f"baseline is {sweep.baseline!r}, which is no value of {sweep.series}{nearest(sweep.baseline, values)}"
            )


def check_unique(what: str, names: Iterable[str]) -> None:
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise ValueError(f"{what} {twice[0]!r} is there twice: each needs a name of its own")


def find_config(name: str, folder: Path) -> Path:
    """The file meant by a name in a sweep file.

    Args:
        name: As it stands there.
        folder: The folder of the sweep file.

    Raises:
        ValueError: If there is none, with the nearest of those that are shipped.
    """
    for place in (folder, CONFIGS):
        path = place / Path(name).expanduser()
        if path.is_file():
            return path
    shipped = [str(path.relative_to(CONFIGS)) for path in CONFIGS.rglob("*.yaml")]
    raise ValueError(f"there is no {name}, neither in {folder} nor among the shipped configs{nearest(name, shipped)}")


def nested(key: str, value: Any) -> dict[str, Any]:
    """``a.b`` and a value → {a: {b: value}}."""
    for part in reversed(key.split(".")):
        value = {part: value}
    return value


def _built(content: dict[str, Any]) -> Sweep:
    axes = [
        Axis(**axis | {"overlays": [Overlay(**overlay) for overlay in axis.get("overlays") or []]})
        for axis in content["axes"]
    ]
    second = content.get("second_stage")
    return Sweep(**content | {"axes": axes, "second_stage": None if second is None else SecondStage(**second)})


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        found = yaml.safe_load(path.read_text())
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is no YAML: {' '.join(str(error).split())}") from error
    if not isinstance(found, dict):
        raise ValueError(f"{path} holds no sweep, but {type(found).__name__}")
    return found

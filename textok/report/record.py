"""What one run folder tells: its choices, its numbers, its curves and its pictures.

Nothing is loaded but small files: a report needs neither the checkpoints nor the data.
"""

from __future__ import annotations

import importlib
import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

#: Where the text enters the pair of a run, best known first: (tokenizer reads it, detokenizer reads it) → words.
TEXT = {
    (True, True): "with text",
    (False, False): "without text",
    (True, False): "text in the tokenizer only",
    (False, True): "text in the detokenizer only",
}


@dataclass(frozen=True)
class RunRecord:
    """One run.

    Args:
        name: What the page calls it.
        folder: Its folder.
        stage: ``tokenizer`` or ``generator``.
        data: The datamodule's class, without the word DataModule.
        image_size: Pixels of an image's side; None where the data do not say.
        num_latents: Latent tokens of an image.
        text: One of the words of ``TEXT``.
        max_steps: Steps it was to train for.
        steps: Steps it trained for; None before the first validation.
        images_seen: Images it trained on.
        seconds: Wall clock of training.
        numbers: Source → metric → value. A source is ``val`` or ``test`` (of metrics.json), or the name of a file of
            the folder ``evaluation``, with the number of images where the file tells it: a gFID of 500 samples is
            another number than one of 50,000.
        warnings: What the evaluations warned of.
        curves: Name, as in ``train/l2``, → steps and values.
    """

    name: str
    folder: Path
    stage: str
    data: str
    image_size: int | None
    num_latents: int
    text: str
    max_steps: int
    steps: int | None
    images_seen: int | None
    seconds: float | None
    numbers: dict[str, dict[str, float]]
    warnings: list[str]
    curves: dict[str, tuple[list[int], list[float]]]

    @property
    def setting(self) -> str:
        """The data and the size: only runs that share them are compared."""
        return self.data if self.image_size is None else f"{self.data}, {self.image_size} px"

    def words(self, name: str) -> dict[str, Any]:
        """What stands in the latest picture of that name, in full; empty where nothing says."""
        return read_json(self.folder / "pictures" / f"{name}.json")

    def picture(self, name: str) -> Path | None:
        """The latest picture of that name, or None."""
        path = self.folder / "pictures" / f"{name}.png"
        return path if path.is_file() else None


def read_records(paths: Sequence[str | Path]) -> list[RunRecord]:
    """The runs at some paths, each a run folder or a folder of run folders; stage 1 comes first within a folder.

    Raises:
        ValueError: If a path leads to no run, or a run's file is damaged.
    """
    folders: dict[Path, Path] = {}  # a run that is named twice is one run
    for path in map(Path, paths):
        found = (
            [path]
            if (path / "config.yaml").is_file()
            else sorted((file.parent for file in path.glob("*/config.yaml")), key=by_number)
        )
        if not found:
            reason = "it and the folders in it hold no config.yaml" if path.is_dir() else "there is no such folder"
            raise ValueError(f"{path} is no run folder: {reason}; give what `fit --run` or `quickstart --output` named")
        for folder in found:
            folders.setdefault(folder.resolve(), folder)
    names = short_names(list(folders))
    records = [read_record(folder, name) for folder, name in zip(folders, names)]
    order = {folder.parent: number for number, folder in reversed(list(enumerate(folders)))}
    return sorted(records, key=lambda record: (order[record.folder.parent], record.stage == "generator"))


def by_number(folder: Path) -> list[tuple[int, int, str]]:
    """Sorts ``tokens_32`` before ``tokens_128``."""
    parts = re.findall(r"\d+|\D+", folder.name)
    return [(0, int(part), part) if part.isdecimal() else (1, 0, part) for part in parts]


def short_names(folders: Sequence[Path]) -> list[str]:
    """The fewest last parts of each path that tell all of them apart."""
    depth = 1
    while len({folder.parts[-depth:] for folder in folders}) < len(folders):
        depth += 1
    return ["/".join(folder.parts[-depth:]) for folder in folders]


def read_record(folder: Path, name: str) -> RunRecord:
    """Read one run folder.

    Raises:
        ValueError: If its configuration is none of textok's, or a file is damaged.
    """
    from textok.callbacks.curves import read_curves

    path = folder / "config.yaml"
    try:
        config = yaml.safe_load(path.read_text())
        model, data = config["model"]["init_args"], config["data"]
        pair = model["textok"]["init_args"]
        halves = tuple(reads_text(pair[half]) for half in ("tokenizer_conditioning", "detokenizer_conditioning"))
        choices = {
            "stage": "generator" if "dit" in model else "tokenizer",
            "data": class_path(data).rsplit(".", 1)[-1].removesuffix("DataModule"),
            "image_size": data["init_args"].get("image_size"),
            "num_latents": int(pair["num_latents"]),
            "text": TEXT[halves],
            "max_steps": int(config["trainer"]["max_steps"]),
        }
    except (yaml.YAMLError, KeyError, TypeError, AttributeError, ValueError) as error:
        reason = f"it lacks {error}" if isinstance(error, KeyError) else " ".join(str(error).split())
        raise ValueError(f"{path} is no configuration of a textok run: {reason}") from error
    results = read_json(folder / "metrics.json")
    numbers: dict[str, dict[str, float]] = {}
    for key, value in finite(results.get("metrics", {})).items():
        source, _, metric = key.rpartition("/")
        numbers.setdefault(source or "metrics", {})[metric] = value
    warnings: list[str] = []
    for file in sorted((folder / "evaluation").glob("*.json")):
        record = read_json(file)
        warnings += record.get("warnings", [])
        measured = finite(record.get("metrics", {}))
        numbers[source_of(file, record)] = {key.rpartition("/")[2]: value for key, value in measured.items()}
    return RunRecord(
        name=name,
        folder=folder,
        steps=results.get("step"),
        images_seen=results.get("images_seen"),
        seconds=results.get("training_seconds"),
        numbers=numbers,
        warnings=warnings,
        curves=columns(read_curves(folder / "curves.csv")),
        **choices,
    )


def source_of(file: Path, record: dict[str, Any]) -> str:
    """What an evaluation's numbers are told apart by: its file's name and how many images it measured."""
    count = record.get("conventions", {}).get("num_images")
    return f"{file.stem}, {count:,} images" if isinstance(count, int) else file.stem


def class_path(choice: str | dict[str, Any]) -> str:
    """The class that a configuration names, with or without arguments."""
    return choice if isinstance(choice, str) else choice["class_path"]


def reads_text(choice: str | dict[str, Any]) -> bool:
    """Whether a conditioning strategy reads captions."""
    module, _, name = class_path(choice).rpartition(".")
    try:
        strategy = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError):
        # A plug-in that is not installed where the report is written; a strategy reads text unless it says otherwise.
        return name != "NoText"
    return getattr(strategy, "needs_text", True)


def read_json(path: Path) -> dict[str, Any]:
    """The object of a JSON file; an empty one where there is no file, as before a run's first validation.

    Raises:
        ValueError: If the file holds something else.
    """
    if not path.is_file():
        return {}
    try:
        found = json.loads(path.read_text())
    except ValueError as error:
        raise ValueError(f"{path} is damaged: {error}; write it again, or take it away") from error
    if not isinstance(found, dict):
        raise ValueError(f"{path} holds a {type(found).__name__}, not an object with metrics")
    metrics = found.get("metrics", {})
    if not isinstance(metrics, dict):
        raise ValueError(f"{path} holds metrics that are a {type(metrics).__name__}, not names and numbers")
    return found


def finite(values: dict[str, Any]) -> dict[str, float]:
    """The numbers among some values; null, which stands for NaN and infinity, is left out and shows as a gap."""
    return {
        key: float(value)
        for key, value in values.items()
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    }


def columns(rows: list[dict[str, str]]) -> dict[str, tuple[list[int], list[float]]]:
    """Rows of a curve file → for each name its steps and values."""
    curves: dict[str, tuple[list[int], list[float]]] = {}
    for row in rows:
        for name, value in row.items():
            if name != "step" and value:
                steps, values = curves.setdefault(name, ([], []))
                steps.append(int(row["step"]))
                values.append(float(value))
    return curves

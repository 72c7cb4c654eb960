"""One run of a sweep: its name, its configuration, its command lines, and what its result depends on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from textok.runs.evaluation_options import evaluation_parser
from textok.runs.folder import RunFolder
from textok.runs.sweep import Config, find_config


@dataclass(frozen=True)
class SweepRun:
    """One training run of a sweep with its evaluation, or one evaluation of a finished run.

    Args:
        name: Its folder's name.
        values: Axis → name of its value, of the axes that touch it.
        seed: Its seed.
        configs: Its configurations as the sweep file names them, overlays last.
        evaluate: Options of ``textok evaluate``, or None.
        folder: That of the sweep file, from which its files are named.
        overlays: What of ``configs`` is not shared by all runs.
        parent: The run of stage 1 on whose latents it trains.
        source: The finished run that is only evaluated.
    """

    name: str
    values: dict[str, str]
    seed: int
    configs: tuple[Config, ...]
    evaluate: tuple[Config, ...] | None
    folder: Path
    overlays: tuple[Config, ...] = ()
    parent: SweepRun | None = None
    source: Path | None = None

    def path(self, output: Path) -> Path:
        """Its run folder, or where the evaluation of a finished run goes."""
        return output / self.name

    def evaluation_file(self, output: Path) -> Path:
        return self.path(output) / "evaluation" / "sweep.json"

    def fit_command(self, output: Path) -> list[str] | None:
        """The command line after ``textok`` that trains it; None for a run that is only evaluated."""
        if self.source is not None:
            return None
        return ["fit", *self.parsed_arguments(output), "--run", str(self.path(output))]

    def parsed_arguments(self, output: Path) -> list[str]:
        arguments = [part for config in self.configs for part in ("--config", self._argument(config))]
        arguments += ["--seed_everything", str(self.seed)]
        if self.parent is not None:
            arguments += ["--model.init_args.tokenizer_checkpoint", str(self.parent.path(output))]
        return arguments

    def evaluate_command(self, output: Path) -> list[str] | None:
        """The command line after ``textok`` that measures it, or None."""
        if self.evaluate is None:
            return None
        command = ["evaluate", str(self.path(output) if self.source is None else self.source)]
        command += self._evaluate_options()
        if self.source is not None:
            command += ["--overlays", json.dumps(self.overlays_found()), "--seed", str(self.seed)]
        return [*command, "--output", str(self.evaluation_file(output))]

    def overlays_found(self) -> list[Config]:
        """Its overlays, files by their paths."""
        return [c if isinstance(c, dict) else str(find_config(c, self.folder)) for c in self.overlays]

    def recipe(self) -> dict[str, Any]:
        """All that the result depends on and the sweep decides, files by the digest of what they say."""
        recipe = {"configs": self._digests(self.configs), "seed": self.seed}
        if self.evaluate is not None:
            recipe["evaluate"] = self._digests(self.evaluate)
        if self.parent is not None:
            recipe["tokenizer"] = {"run": self.parent.name, "recipe": digest(self.parent.recipe())}
        if self.source is not None:
            recipe["run"] = f"{self.source.name}, {RunFolder(self.source).newest_checkpoint().name}"
        return recipe

    @cached_property
    def fingerprint(self) -> str | None:
        """Stands for what its configuration and evaluation say, all defaults filled in, however their files are named.

        Runs of different sweeps that agree in it are one run, on as many devices and by the same versions: those are
        nowhere said. None for a run that is only evaluated.
        """
        from textok.runs.parser import TextokCLI

        if self.source is not None:
            return None
        resolved = TextokCLI(self.parsed_arguments(Path("output")), run=False).resolved()
        said: dict[str, Any] = {"configuration": resolved, "evaluate": None, "tokenizer": None}
        if self.evaluate is not None:
            parser = evaluation_parser()
            options = parser.parse_args(["run", *self._evaluate_options()])
            told = yaml.safe_load(parser.dump(options, skip_none=False))
            said["evaluate"] = {key: value for key, value in told.items() if key not in ("target", "config")}
        if self.parent is not None:
            resolved["model"]["init_args"].pop("tokenizer_checkpoint")
            said["tokenizer"] = self.parent.fingerprint
        return digest(said)

    def differences(self) -> dict[str, Any]:
        """Dotted key → value of everything that its overlays say."""
        found: dict[str, Any] = {}
        for config in self.overlays:
            found |= flattened(config if isinstance(config, dict) else _load(find_config(config, self.folder)))
        return found

    def _evaluate_options(self) -> list[str]:
        return [part for options in self.evaluate for part in ("--config", self._argument(options))]

    def _argument(self, config: Config) -> str:
        return json.dumps(config) if isinstance(config, dict) else str(find_config(config, self.folder))

    def _digests(self, configs: Sequence[Config]) -> dict[str, Any]:
        told: dict[str, Any] = {}
        for config in configs:
            told |= (
                flattened(config)
                if isinstance(config, dict)
                else {config: digest(_load(find_config(config, self.folder)))}
            )
        return told


def flattened(config: dict[str, Any], at: str = "") -> dict[str, Any]:
    """{a: {b: value}} → {"a.b": value}."""
    found: dict[str, Any] = {}
    for key, value in config.items():
        name = f"{at}.{key}" if at else str(key)
        found |= flattened(value, name) if isinstance(value, dict) and value else {name: value}
    return found


def digest(content: Any) -> str:
    """Twelve hexadecimal digits that stand for some content."""
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()[:12]


def _load(path: Path) -> dict[str, Any]:
    return yaml.safe_load(path.read_text()) or {}

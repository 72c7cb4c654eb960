"""A run folder: one resolved configuration, its checkpoints, curves and pictures.

config.yaml  checkpoints/stepNNNNNNNN.ckpt  curves.csv  tensorboard/  pictures/  metrics.json
"""

from __future__ import annotations

import warnings
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

import yaml
from lightning.pytorch.plugins import CheckpointIO

from textok.modules.weights import checkpoints_of
from textok.storage import checkpoint_damage, write_atomic

#: Keys of ``trainer`` that say how a step is computed and not what it is: a run may go on with others.
HOW = ("strategy",)
#: The same of ``model.init_args``: what goes with one strategy alone.
HOW_OF_MODEL = ("shard_text_encoder",)


class RunFolder:
    """The folder of one run.

    Args:
        path: Where it is or shall be.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path).expanduser()

    @property
    def config_file(self) -> Path:
        return self.path / "config.yaml"

    @property
    def checkpoint_folder(self) -> Path:
        return self.path / "checkpoints"

    def config(self) -> dict[str, Any]:
        """The run's resolved configuration.

        Raises:
            ValueError: If the folder holds none.
        """
        if not self.config_file.is_file():
            raise ValueError(f"{self.path} is no run folder: it holds no config.yaml")
        return yaml.safe_load(self.config_file.read_text())

    def checkpoints(self) -> list[Path]:
        """All checkpoints, oldest first."""
        return checkpoints_of(self.path)

    def newest_checkpoint(self) -> Path:
        """The newest undamaged checkpoint; a damaged one is passed over with a warning and left where it is.

        Raises:
            ValueError: If there is none.
        """
        found = self.checkpoints()
        if not found:
            raise ValueError(f"{self.path} holds no checkpoint: expected {self.checkpoint_folder}/step*.ckpt")
        for file in reversed(found):
            damage = checkpoint_damage(file)
            if damage is None:
                return file
            warnings.warn(f"{file} is damaged and not used: {damage}", stacklevel=2)
        raise ValueError(
            f"all {len(found)} checkpoints in {self.checkpoint_folder} are damaged: restore one from a copy, "
            "or move them away to start from step 0"
        )

    def check(self, config: dict[str, Any]) -> Path | None:
        """Whether a configuration may run here; nothing is written.

        Args:
            config: The resolved configuration, without the folder itself.

        Returns:
            The checkpoint to go on from, or None for a fresh start.

        Raises:
            ValueError: If the folder holds another run or something else, or only damaged checkpoints.
        """
        if self.config_file.exists():
            differences = compare_configs(_what(self.config()), _what(config))
            if differences:
                raise ValueError(
                    f"{self.path} holds a run with another configuration:\n  "
                    + "\n  ".join(differences)
                    + "\nGive another --run folder, or repeat the configuration of this one to go on with it"
                )
            return self.newest_checkpoint() if self.checkpoints() else None
        if self.path.is_dir() and any(self.path.iterdir()):
            raise ValueError(f"{self.path} is not empty and holds no config.yaml: give another --run folder")
        return None

    def claim(self, config: dict[str, Any]) -> None:
        """Make the folder this configuration's; a folder that has one keeps it."""
        if not self.config_file.exists():
            self.path.mkdir(parents=True, exist_ok=True)
            write_atomic(self.config_file, yaml.safe_dump(config, sort_keys=False, allow_unicode=True))


def _what(config: dict[str, Any]) -> dict[str, Any]:
    trainer = {key: value for key, value in (config.get("trainer") or {}).items() if key not in HOW}
    plugins = trainer.get("plugins") or []
    plugins = [each for each in (plugins if isinstance(plugins, list) else [plugins]) if not _writes_checkpoints(each)]
    model = config.get("model") or {}
    choices = {key: value for key, value in (model.get("init_args") or {}).items() if key not in HOW_OF_MODEL}
    return config | {"trainer": trainer | {"plugins": plugins}, "model": model | {"init_args": choices}}


def _writes_checkpoints(plugin: Any) -> bool:
    return isinstance(plugin, dict) and issubclass(resolve_name(plugin["class_path"]), CheckpointIO)


def compare_configs(old: Any, new: Any, at: str = "") -> list[str]:
    """One line ``key: old → new`` for each value in which two configurations differ."""
    if isinstance(old, dict) and isinstance(new, dict):
        lines = []
        for key in [*old, *(k for k in new if k not in old)]:
            lines += compare_configs(old.get(key), new.get(key), f"{at}.{key}" if at else str(key))
        return lines
    return [] if old == new else [f"{at}: {old!r} → {new!r}"]

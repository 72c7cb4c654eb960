"""One checkpoint in three forms: whole, in parts, and its weights alone as safetensors."""

from __future__ import annotations

import json
import pickle
import shutil
from pathlib import Path
from typing import Any, Literal

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from textok.callbacks import AtomicCheckpointIO
from textok.modules.weights import read_checkpoint
from textok.storage import atomic_path, checkpoint_damage, is_sharded
from textok.storage.sharded import cut, finish, temporary_folder, write_part

#: Prefix in a file of weights → prefixes in a checkpoint, the first of which is read and all of which are written.
STAGE_1 = {"ema": {"pair.": ("ema.", "textok.")}, "raw": {"pair.": ("textok.", "ema.")}}
STAGE_2 = {
    "ema": {"pair.": ("textok.",), "dit.": ("ema.", "dit."), "normalizer.": ("normalizer.",)},
    "raw": {"pair.": ("textok.",), "dit.": ("dit.", "ema."), "normalizer.": ("normalizer.",)},
}
#: What a checkpoint has beside its weights that a file of weights keeps.
KEPT = ("class_captions", "class_names")
#: Keys of a checkpoint whose tensors are cut into parts.
CUT = ("state_dict", "optimizer_states")
SUFFIX = ".safetensors"


def convert(
    source: str | Path, target: str | Path, ranks: int | None = None, weights: Literal["ema", "raw"] | None = None
) -> str:
    """Write a checkpoint in another form; the target appears whole or not at all.

    Args:
        source: A checkpoint, whole or in parts, or a .safetensors file that came from one.
        target: A .safetensors file for the weights alone; otherwise a checkpoint.
        ranks: Number of parts of the target; None writes it whole.
        weights: Which weights a .safetensors file gets, the averages (the default) or the raw ones.

    Returns:
        What was written, for people.

    Raises:
        ValueError: If the source is damaged or of another kind, or the target is there already.
    """
    source, target = Path(source), Path(target)
    if not source.exists():
        raise ValueError(f"{source} does not exist: give a checkpoint (checkpoints/step*.ckpt of a run folder)")
    if target.exists():
        raise ValueError(f"{target} exists already: give another name, or remove it")
    to_weights = target.suffix == SUFFIX
    if to_weights and ranks is not None:
        raise ValueError(f"--ranks {ranks} cuts checkpoints, and {target.name} is a file of weights: leave it out")
    if not to_weights and weights is not None:
        raise ValueError(f"--weights {weights} chooses what a {SUFFIX} file gets, and {target.name} is none")
    if ranks is not None and ranks < 1:
        raise ValueError(f"--ranks must be at least 1, got {ranks}")
    checkpoint = _from_weights(source) if source.suffix == SUFFIX else _read(source)
    if to_weights:
        return _write_weights(checkpoint, source, target, weights or "ema")
    if ranks is None:
        AtomicCheckpointIO().save_checkpoint(checkpoint, target)
        return f"{target}: a whole checkpoint"
    temporary = temporary_folder(target)
    temporary.mkdir(parents=True)
    try:
        for rank, (common, parts) in enumerate(cut(checkpoint, CUT, ranks)):
            write_part(temporary, rank, ranks, common, parts)
        finish(temporary, target, ranks)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    return f"{target}: a checkpoint in {ranks} parts"


def _read(source: Path) -> dict[str, Any]:
    if source.is_dir() and not is_sharded(source):
        raise ValueError(f"{source} is a folder without a manifest.json: it is no checkpoint in parts")
    damage = checkpoint_damage(source)
    if damage is not None:
        raise ValueError(f"{source} is damaged: {damage}. Take the checkpoint before it")
    checkpoint = read_checkpoint(source)
    if not isinstance(checkpoint, dict) or "state_dict" not in checkpoint:
        raise ValueError(f"{source} is no checkpoint of textok: it holds no state_dict")
    return checkpoint


def _write_weights(checkpoint: dict[str, Any], source: Path, target: Path, weights: str) -> str:
    state = checkpoint["state_dict"]
    stage = STAGE_2 if "normalizer.mean" in state else STAGE_1
    found: dict[str, Tensor] = {}
    for ours, (prefix, *_) in stage[weights].items():
        named = {ours + name.removeprefix(prefix): v for name, v in state.items() if name.startswith(prefix)}
        if not named:
            raise ValueError(f"{source} holds no weights under {prefix}: it is no checkpoint of textok")
        found |= {name: value.contiguous() for name, value in named.items()}
    kept = {name: checkpoint[name] for name in KEPT if name in checkpoint}
    with atomic_path(target) as temporary:
        save_file(found, temporary, metadata={"weights": weights, "checkpoint": json.dumps(kept)})
    count = sum(value.numel() for value in found.values())
    return f"{target}: {count:,} {'averaged' if weights == 'ema' else 'raw'} weights"


def _from_weights(source: Path) -> dict[str, Any]:
    """A checkpoint whose networks all have the weights of a file: to start others from, not to go on with."""
    try:
        with safe_open(source, framework="pt") as file:
            metadata = file.metadata() or {}
            found = {name: file.get_tensor(name) for name in list(file.keys())}
    except (SafetensorError, pickle.UnpicklingError) as error:
        raise ValueError(f"{source} cannot be read as safetensors: {error}") from None
    stage = (STAGE_2 if any(name.startswith("dit.") for name in found) else STAGE_1)["ema"]
    state = {}
    for name, value in found.items():
        ours = next((prefix for prefix in stage if name.startswith(prefix)), None)
        if ours is None:
            raise ValueError(f"{source} holds {name!r}, which is no part of a model of textok ({', '.join(stage)})")
        state |= {prefix + name.removeprefix(ours): value for prefix in stage[ours]}
    return {"state_dict": state, **json.loads(metadata.get("checkpoint", "{}"))}

"""A checkpoint as a folder: a file for each process with its parts of what is sharded, one with the rest.

    stepNNNNNNNN.ckpt/   common.pt   shard-00000-of-00002.pt   shard-00001-of-00002.pt   manifest.json

A sharded tensor is cut along its first axis; its parts in the order of the processes are the whole again, so a
checkpoint can be read by any number of processes. All files are read with ``weights_only=True``.
"""

from __future__ import annotations

import json
import os
import shutil
import uuid
from collections.abc import Callable, Container
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.distributed.tensor import DTensor, Shard

from textok.storage.archive import archive_damage
from textok.storage.atomic import sync, write_json

COMMON, MANIFEST = "common.pt", "manifest.json"


def shard_name(rank: int, ranks: int) -> str:
    return f"shard-{rank:05d}-of-{ranks:05d}.pt"


def is_sharded(path: str | Path) -> bool:
    """Whether a path is a whole sharded checkpoint; the manifest is written last."""
    return (Path(path) / MANIFEST).is_file()


def local_parts(checkpoint: dict[str, Any]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """A checkpoint without its sharded tensors, and this process's parts of them with where they belong."""
    common, found = _taken_out(checkpoint, lambda at, value: isinstance(value, DTensor))
    assert all(tensor.placements == (Shard(0),) for _, tensor in found)
    return common, [{"at": at, "part": tensor.to_local().detach().cpu()} for at, tensor in found]


def cut(checkpoint: dict[str, Any], sections: Container[str], ranks: int) -> list[tuple[dict[str, Any], list]]:
    """A whole checkpoint cut for so many processes, as ``local_parts`` would have found it on each.

    Args:
        checkpoint: The whole checkpoint.
        sections: Its keys whose tensors are cut.
        ranks: Number of processes.
    """
    common, found = _taken_out(checkpoint, lambda at, value: bool(value.ndim) and at[0] in sections)
    pieces = [(at, list(tensor.chunk(ranks))) for at, tensor in found]  # torch's own rule of a shard
    for (_, chunks), (_, tensor) in zip(pieces, found):
        chunks += [tensor[:0]] * (ranks - len(chunks))
    # A clone: a slice would be saved with the whole it is a slice of.
    return [(common, [{"at": at, "part": chunks[rank].clone()} for at, chunks in pieces]) for rank in range(ranks)]


def _taken_out(
    checkpoint: dict[str, Any], chosen: Callable[[list[Any], Tensor], bool]
) -> tuple[dict[str, Any], list[tuple[list[Any], Tensor]]]:
    """A checkpoint with None in place of the chosen tensors, and these with the keys that lead to them."""
    found: list[tuple[list[Any], Tensor]] = []

    def without(value: Any, at: list[Any]) -> Any:
        if isinstance(value, Tensor) and chosen(at, value):
            found.append((at, value))
            return None
        if isinstance(value, dict):
            return type(value)((key, without(each, [*at, key])) for key, each in value.items())
        if isinstance(value, list | tuple):
            return type(value)(without(each, [*at, i]) for i, each in enumerate(value))
        return value

    return without(checkpoint, []), found


def write_part(folder: Path, rank: int, ranks: int, common: Any, parts: list[dict[str, Any]]) -> None:
    """Write one process's file into a folder, and the first one's share of the rest."""
    files = [(folder / shard_name(rank, ranks), parts)] + ([(folder / COMMON, common)] if rank == 0 else [])
    for file, contents in files:
        torch.save(contents, file)
        sync(file)


def temporary_folder(path: Path) -> Path:
    """A name beside ``path`` to write a sharded checkpoint under."""
    return path.with_name(f".tmp-{uuid.uuid4().hex[:12]}-{path.name}")


def finish(temporary: Path, path: Path, ranks: int) -> None:
    """Put a folder in which all processes have written their files in place of ``path``, at once."""
    names = [COMMON, *(shard_name(rank, ranks) for rank in range(ranks))]
    write_json(temporary / MANIFEST, {"ranks": ranks, "bytes": {n: (temporary / n).stat().st_size for n in names}})
    sync(temporary)
    old = temporary_folder(path)
    if path.exists():  # a folder cannot be renamed onto another one
        os.replace(path, old)
    os.replace(temporary, path)
    sync(path.parent)
    if old.is_dir():
        shutil.rmtree(old)
    else:
        old.unlink(missing_ok=True)


def read_sharded(folder: str | Path) -> dict[str, Any]:
    """A sharded checkpoint as a whole one, on the CPU.

    Raises:
        ValueError: If a file of it is missing.
        pickle.UnpicklingError: If it holds more than tensors and plain values.
    """
    folder = Path(folder)
    ranks = _manifest(folder)["ranks"]
    common = torch.load(folder / COMMON, map_location="cpu", weights_only=True)
    shards = [torch.load(folder / shard_name(r, ranks), map_location="cpu", weights_only=True) for r in range(ranks)]
    for pieces in zip(*shards, strict=True):
        *way, last = pieces[0]["at"]
        value = common
        for step in way:
            value = value[step]
        value[last] = torch.cat([piece["part"] for piece in pieces])
    return common


def checkpoint_damage(path: str | Path) -> str | None:
    """What is wrong with a checkpoint, whole or sharded, or None; nothing in it is unpickled.

    Of a sharded one each file must be there, as long as it was, and intact.
    """
    folder = Path(path)
    if not folder.is_dir():
        return archive_damage(path)
    try:
        sizes = _manifest(folder)["bytes"]
    except (ValueError, KeyError, TypeError) as error:
        return f"no complete sharded checkpoint ({error})"
    for name, size in sizes.items():
        file = folder / name
        if not file.is_file() or file.stat().st_size != size:
            return f"{name} is missing or cut short"
        damage = archive_damage(file)
        if damage is not None:
            return f"{name}: {damage}"
    return None


def _manifest(folder: Path) -> dict[str, Any]:
    if not (folder / MANIFEST).is_file():
        raise ValueError(f"{folder} holds no {MANIFEST}: its writing was cut short, or it is no checkpoint")
    return json.loads((folder / MANIFEST).read_text())

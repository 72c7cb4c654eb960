"""What ``predict`` makes, on disk: safetensors shards and a manifest."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
import torch.distributed as dist
from lightning.pytorch.callbacks import Callback
from torch import Tensor

from textok.storage import atomic_path, sha256, write_json


class ShardWriter(Callback):
    """Writes the records that ``predict_step`` returns: a dict of tensors (B, …) with a ``key`` list.

    Rows where ``valid`` is False are left out, ``valid`` itself too. A shard is ``<rank>-<number>.safetensors``, with
    the keys of its rows, in order, as JSON under ``keys`` in its metadata. ``manifest.json`` comes last and lists each
    shard's count, SHA-256, names, shapes and types; a folder without it is not complete. Run the Trainer with
    ``return_predictions=False``, or it keeps everything in memory besides.

    Args:
        folder: Where to write, from the run folder on.
        images_per_shard: Rows in a shard; the last one of each rank may have fewer.
    """

    FORMAT = 1

    def __init__(self, folder: str = "predictions", images_per_shard: int = 10_000) -> None:
        if images_per_shard < 1:
            raise ValueError(f"images_per_shard must be positive, got {images_per_shard}")
        self.folder = folder
        self.images_per_shard = images_per_shard
        self._clear()

    def _clear(self) -> None:
        self._keys: list[str] = []
        self._parts: dict[str, list[Tensor]] = {}
        self._shards: list[dict[str, Any]] = []

    def on_predict_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        folder = Path(trainer.default_root_dir) / self.folder
        if (folder / "manifest.json").exists():
            raise ValueError(f"{folder} holds finished predictions: name another folder for ShardWriter, or remove it")
        trainer.strategy.barrier()  # before rank 0 can have written anything
        if trainer.is_global_zero:
            for leftover in folder.glob("*.safetensors"):  # of a run that was stopped
                leftover.unlink()
        trainer.strategy.barrier()
        self._clear()

    def on_predict_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        tensors = {name: value for name, value in outputs.items() if isinstance(value, Tensor) and name != "valid"}
        rows = list(range(len(outputs["key"])))
        if "valid" in outputs:
            rows = outputs["valid"].nonzero().flatten().tolist()
        self._keys += [outputs["key"][row] for row in rows]
        for name, value in tensors.items():
            self._parts.setdefault(name, []).append(value.detach().cpu()[rows])
        while len(self._keys) >= self.images_per_shard:
            self._write(trainer, self.images_per_shard)

    def _write(self, trainer: pl.Trainer, count: int) -> None:
        from safetensors.torch import save_file

        buffered = {name: torch.cat(parts) for name, parts in self._parts.items()}
        shard = {name: value[:count].contiguous() for name, value in buffered.items()}
        keys, self._keys = self._keys[:count], self._keys[count:]
        # A copy: a view of the rest would keep all of the buffer alive.
        self._parts = {name: [value[count:].clone()] for name, value in buffered.items()}
        path = Path(trainer.default_root_dir) / self.folder / f"{trainer.global_rank:05d}-{len(self._shards):05d}"
        path = path.with_suffix(".safetensors")
        with atomic_path(path) as temporary:
            save_file(shard, temporary, metadata={"keys": json.dumps(keys, ensure_ascii=False)})
        self._shards.append(
            {
                "file": path.name,
                "count": count,
                "sha256": sha256(path),
                "tensors": {
                    name: {"shape": list(value.shape), "dtype": str(value.dtype).removeprefix("torch.")}
                    for name, value in shard.items()
                },
            }
        )

    def on_predict_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if self._keys:
            self._write(trainer, len(self._keys))
        shards = self._shards
        if trainer.world_size > 1:
            gathered: list[list[dict[str, Any]]] = [[] for _ in range(trainer.world_size)]
            dist.all_gather_object(gathered, shards)
            shards = [shard for part in gathered for shard in part]
        if trainer.is_global_zero:
            write_json(
                Path(trainer.default_root_dir) / self.folder / "manifest.json",
                {"format": self.FORMAT, "count": sum(shard["count"] for shard in shards), "shards": shards},
            )
        self._clear()

"""Writing a cache shard by shard, by any number of processes, over any number of starts.

Which entries a shard holds is planned before the first one is computed, so a shard has the same bytes whoever writes
it and whenever. A shard is written beside its place, flushed, renamed and then entered in its rank's journal: a kill
at any point leaves a shard that is whole and entered, or one that is made anew. No entry can be lost or doubled.

plan.json → shard-NNNNN.safetensors and journal-R.jsonl → manifest.json, when all shards are there
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from torch import Tensor

from textok.storage.atomic import atomic_path, write_json
from textok.storage.checksum import sha256
from textok.storage.lines import JsonLines
from textok.storage.manifest import FORMAT, MANIFEST, Manifest, Shard, require_match

PLAN = "plan.json"


class ShardWriter:
    """One rank's part in a cache.

    Args:
        folder: The cache's folder.
        kind: What is cached.
        identity: Everything that the contents depend on, as JSON can hold it.
        count: Entries of the whole cache.
        shard_size: Entries of a shard; the last may have fewer.
        rank: Number of this process.
        world: How many processes there are; it may be another number at every start.

    Raises:
        ValueError: If the folder holds another cache, or something else.
    """

    def __init__(
        self,
        folder: str | Path,
        kind: str,
        identity: dict[str, Any],
        count: int,
        shard_size: int,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        if count < 1 or shard_size < 1:
            raise ValueError(f"a cache needs entries and shards of at least one, got {count} and {shard_size}")
        self.folder = Path(folder)
        self.kind, self.identity, self.count, self.shard_size = kind, identity, count, shard_size
        self.rank, self.world = rank, world
        self._claim()
        self._journal = JsonLines(self.folder / f"journal-{rank}.jsonl")
        self._journal.repair()
        if self.is_finished and rank == 0:
            self._clear_leftovers()  # a kill may have come between the manifest and this

    def _claim(self) -> None:
        plan = {"kind": self.kind, "format": FORMAT, "count": self.count, "shard_size": self.shard_size}
        plan = json.loads(json.dumps(plan | {"identity": self.identity}))
        if (self.folder / PLAN).is_file():
            found = json.loads((self.folder / PLAN).read_text(encoding="utf-8"))
            require_match(
                f"the cache that {self.folder} was begun with", found, plan, "Give another folder, or delete this one"
            )
        elif self.folder.is_dir() and any(path.name != PLAN for path in self.folder.glob("[!.]*")):
            raise ValueError(f"{self.folder} is not empty and holds no {PLAN}: give another folder")
        else:
            write_json(self.folder / PLAN, plan)

    @property
    def is_finished(self) -> bool:
        """Whether an earlier start wrote the whole cache."""
        return (self.folder / MANIFEST).is_file()

    @property
    def num_shards(self) -> int:
        return -(-self.count // self.shard_size)

    def entries(self, shard: int) -> range:
        """The numbers of a shard's entries."""
        return range(shard * self.shard_size, min((shard + 1) * self.shard_size, self.count))

    def pending(self) -> list[int]:
        """The shards that this rank has still to write."""
        if self.is_finished:
            return []
        done = self._entered()
        # By the shard's number: ranks may look at the journals at different moments and must still agree.
        return [shard for shard in range(self.rank, self.num_shards, self.world) if shard not in done]

    def num_missing(self) -> int:
        """Entries that no rank has written yet."""
        done = self._entered()
        return sum(len(self.entries(shard)) for shard in range(self.num_shards) if shard not in done)

    def write(self, shard: int, tensors: dict[str, Tensor], note: Any = None) -> None:
        """Store a shard and enter it in the journal.

        Args:
            shard: Its number.
            tensors: Its contents.
            note: What ``finish`` shall know of it, as JSON can hold it.
        """
        from safetensors.torch import save_file

        path = self.folder / f"shard-{shard:05d}.safetensors"
        with atomic_path(path) as temporary:
            save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, temporary)
        row = {
            "shard": shard,
            "file": path.name,
            "entries": len(self.entries(shard)),
            "size": path.stat().st_size,
            "sha256": sha256(path),
            "note": note,
        }
        self._journal.append([row])

    def notes(self) -> Iterator[Any]:
        """The notes of all shards in order, whoever wrote them."""
        entered = self._entered()
        return (entered[shard]["note"] for shard in range(self.num_shards))

    def finish(self, files: list[str] | None = None, details: dict[str, Any] | None = None) -> Manifest:
        """Write the manifest; the first rank calls this when all ranks are done.

        Args:
            files: Names of the cache's other files.
            details: What a consumer wants to know beside the entries.
        """
        entered = self._entered()
        missing = [shard for shard in range(self.num_shards) if shard not in entered]
        assert not missing, f"shards {missing} are not written"
        fields = ("file", "entries", "size", "sha256")
        shards = [Shard(**{name: entered[shard][name] for name in fields}) for shard in range(self.num_shards)]
        checksums = {name: sha256(self.folder / name) for name in files or []}
        manifest = Manifest(self.kind, self.identity, self.count, self.shard_size, shards, checksums, details or {})
        manifest.write(self.folder)
        self._clear_leftovers()
        return manifest

    def _clear_leftovers(self) -> None:
        """Remove what a finished cache no longer needs: journals, and files that a kill left half-written."""
        for path in [*self.folder.glob("journal-*.jsonl"), *self.folder.glob(".tmp-*")]:
            path.unlink()

    def _entered(self) -> dict[int, dict[str, Any]]:
        """What the journals of all ranks, of this start and earlier ones, say about the shards that are there."""
        rows = [row for path in sorted(self.folder.glob("journal-*.jsonl")) for row in JsonLines(path).read()]
        return {row["shard"]: row for row in rows if self._is_there(row)}

    def _is_there(self, row: dict[str, Any]) -> bool:
        path = self.folder / row["file"]
        return path.is_file() and path.stat().st_size == row["size"]

"""Manifests, shards, checksums and atomic writes: what checkpoints, caches, results and predictions share."""

from textok.storage.archive import archive_damage
from textok.storage.atomic import atomic_path, write_atomic, write_json
from textok.storage.checksum import sha256
from textok.storage.lines import JsonLines
from textok.storage.manifest import Manifest, require_match
from textok.storage.mapped import map_tensors
from textok.storage.sharded import checkpoint_damage, is_sharded, read_sharded
from textok.storage.shards import ShardWriter
from textok.storage.space import require_space
from textok.storage.strings import StringIndex, StringTable, pack, pack_index, strings_digest

__all__ = [
    "JsonLines",
    "Manifest",
    "ShardWriter",
    "StringIndex",
    "StringTable",
    "archive_damage",
    "atomic_path",
    "checkpoint_damage",
    "is_sharded",
    "map_tensors",
    "pack",
    "pack_index",
    "read_sharded",
    "require_match",
    "require_space",
    "sha256",
    "strings_digest",
    "write_atomic",
    "write_json",
]

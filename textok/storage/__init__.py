"""Manifests, checksums and atomic writes: what checkpoints, caches, results and predictions share."""

from textok.storage.archive import archive_damage
from textok.storage.atomic import atomic_path, write_atomic, write_json
from textok.storage.checksum import sha256

__all__ = ["archive_damage", "atomic_path", "sha256", "write_atomic", "write_json"]

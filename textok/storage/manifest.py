"""What a cache was made from, as JSON beside its shards: a consumer that does not match refuses."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from textok.storage.atomic import write_json
from textok.storage.checksum import sha256

#: Raised by one when the meaning of a cache's files changes.
FORMAT = 1
MANIFEST = "manifest.json"


@dataclass(frozen=True)
class Shard:
    """One file of a cache.

    Args:
        file: Its name in the cache's folder.
        entries: Entries in it.
        size: Its length in bytes.
        sha256: Its checksum.
    """

    file: str
    entries: int
    size: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """The record of a whole cache.

    Args:
        kind: What is cached.
        identity: Everything that the contents depend on.
        count: Entries of all shards.
        shard_size: Entries of a shard; the last may have fewer.
        shards: The files, in the order of their entries.
        files: Other files of the cache, with their checksums.
        details: What a consumer wants to know beside the entries.
        format: Version of this format.
    """

    kind: str
    identity: dict[str, Any]
    count: int
    shard_size: int
    shards: list[Shard]
    files: dict[str, str] = field(default_factory=dict)
    details: dict[str, Any] = field(default_factory=dict)
    format: int = FORMAT

    @classmethod
    def read(cls, folder: str | Path, kind: str) -> Manifest:
        """The manifest of a finished cache.

        Raises:
            FileNotFoundError: If there is none: the cache is unfinished, or this is no cache.
            ValueError: If it cannot be read or is of another kind or version.
        """
        path = Path(folder) / MANIFEST
        if not path.is_file():
            unfinished = (Path(folder) / "plan.json").is_file()
            state = "is not finished: start the same command again" if unfinished else f"is no {kind} cache"
            raise FileNotFoundError(f"{folder} {state} (it holds no {MANIFEST})")
        try:
            fields = json.loads(path.read_text(encoding="utf-8"))
            version, found = fields["format"], fields["kind"]
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{path} is damaged ({error}): make the cache again") from None
        if version != FORMAT:
            raise ValueError(
                f"{path} has format {version}, this version of textok reads {FORMAT}: make the cache again"
            )
        if found != kind:
            raise ValueError(f"{folder} is a {found} cache, not a {kind} cache")
        return cls(**fields | {"shards": [Shard(**shard) for shard in fields["shards"]]})

    def write(self, folder: str | Path) -> None:
        write_json(Path(folder) / MANIFEST, asdict(self))

    def check_files(self, folder: str | Path, checksums: bool = False) -> None:
        """Whether every file is there and whole.

        Args:
            folder: The cache's folder.
            checksums: Read every byte; otherwise only the lengths of the shards are looked at.

        Raises:
            ValueError: If one is not; it is named.
        """
        for shard in self.shards:
            path = Path(folder) / shard.file
            if not path.is_file():
                raise ValueError(f"shard {path} is missing: copy it again, or make the cache again")
            if path.stat().st_size != shard.size:
                raise ValueError(
                    f"shard {path} is damaged: it has {path.stat().st_size:,} bytes instead of {shard.size:,}; "
                    "delete the cache's folder and make it again, or copy the shard again"
                )
        named = {shard.file: shard.sha256 for shard in self.shards} | self.files
        for file, checksum in named.items() if checksums else ():
            if not (Path(folder) / file).is_file() or sha256(Path(folder) / file) != checksum:
                raise ValueError(
                    f"{Path(folder) / file} is damaged: its checksum is not {checksum[:12]}… as in {MANIFEST}; "
                    "delete the cache's folder and make it again, or copy the file again"
                )


def differences(cached: dict[str, Any], wanted: dict[str, Any]) -> list[str]:
    """One line for every wanted field that a cache has otherwise, both values side by side.

    Fields that only the cache has are its own business.
    """
    lines = []
    for name, value in wanted.items():
        have = cached.get(name)
        if isinstance(value, dict) and isinstance(have, dict):
            lines += [f"{name}.{line}" for line in differences(have, value)]
        elif have != value:
            lines.append(f"{name}: the cache has {have!r}, here it is {value!r}")
    return lines


def require_match(what: str, cached: dict[str, Any], wanted: dict[str, Any], remedy: str) -> None:
    """Refuse a cache that was made from something else.

    Raises:
        ValueError: With every differing field.
    """
    lines = differences(cached, wanted)
    if lines:
        raise ValueError(f"{what} does not match:\n  " + "\n  ".join(lines) + f"\n{remedy}")

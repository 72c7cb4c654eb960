"""Many strings in a few arrays, found by number or by value without reading more than is asked for.

A table of n strings is their UTF-8 bytes one after the other and the n places where each ends. An index adds the
sorted 64-bit hashes of the strings and the number that belongs to each, so a string is found by bisection. All of it
maps into memory: a million strings open as fast as one, and processes share the pages.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor


class StringTable(Sequence):
    """Strings by number.

    Args:
        data: (N,) uint8; the bytes of all strings.
        ends: (n,) int64; where each string ends.
    """

    def __init__(self, data: Tensor, ends: Tensor) -> None:
        self._data = data.numpy()
        self._ends = ends.numpy()

    @classmethod
    def read(cls, tensors: Mapping[str, Tensor], name: str) -> StringTable:
        """The table that :func:`pack` made under a name."""
        return cls(tensors[f"{name}.bytes"], tensors[f"{name}.ends"])

    def __len__(self) -> int:
        return len(self._ends)

    def __getitem__(self, number: int) -> str:
        if not 0 <= number < len(self):
            raise IndexError(f"string {number} of {len(self)}")
        begin = self._ends[number - 1] if number else 0
        return self._data[begin : self._ends[number]].tobytes().decode()


class StringIndex(StringTable):
    """Distinct strings by number and by value.

    Args:
        data: (N,) uint8; the bytes of all strings.
        ends: (n,) int64; where each string ends.
        hashes: (n,) int64; the hashes of the strings, sorted.
        order: (n,) int64; the number of the string with each hash.
    """

    def __init__(self, data: Tensor, ends: Tensor, hashes: Tensor, order: Tensor) -> None:
        super().__init__(data, ends)
        self._hashes = hashes.numpy()
        self._order = order.numpy()

    @classmethod
    def read(cls, tensors: Mapping[str, Tensor], name: str) -> StringIndex:
        """The index that :func:`pack_index` made under a name."""
        return cls(*(tensors[f"{name}.{part}"] for part in ("bytes", "ends", "hashes", "order")))

    def find(self, strings: Sequence[str]) -> np.ndarray:
        """The number of each string, −1 where the table has none like it."""
        wanted = _hashes(strings)
        places = np.searchsorted(self._hashes, wanted)
        found = np.full(len(wanted), -1, dtype=np.int64)
        for i, (string, place) in enumerate(zip(strings, places.tolist())):
            # Different strings may share a hash: the string itself decides.
            while place < len(self) and self._hashes[place] == wanted[i]:
                number = int(self._order[place])
                if self[number] == string:
                    found[i] = number
                    break
                place += 1
        return found

    def __contains__(self, string: object) -> bool:
        return isinstance(string, str) and bool(self.find([string])[0] >= 0)


def pack(strings: Iterable[str], name: str) -> dict[str, Tensor]:
    """The arrays of a table, to be stored under a name.

    Raises:
        UnicodeEncodeError: If a string is not valid Unicode.
    """
    data, ends = bytearray(), []
    for string in strings:
        data += string.encode()
        ends.append(len(data))
    # torch.frombuffer takes no empty buffer.
    packed = torch.frombuffer(data, dtype=torch.uint8) if data else torch.empty(0, dtype=torch.uint8)
    return {f"{name}.bytes": packed, f"{name}.ends": torch.tensor(ends, dtype=torch.int64)}


def pack_index(strings: Sequence[str], name: str) -> dict[str, Tensor]:
    """The arrays of an index over distinct strings, to be stored under a name."""
    hashes = _hashes(strings)
    order = np.argsort(hashes, kind="stable")
    return pack(strings, name) | {
        f"{name}.hashes": torch.from_numpy(hashes[order]),
        f"{name}.order": torch.from_numpy(order.astype(np.int64)),
    }


def strings_digest(strings: Iterable[str]) -> str:
    """SHA-256 of a list of strings: equal for equal lists, and for no others."""
    digest = hashlib.sha256()
    for string in strings:
        data = string.encode()
        digest.update(len(data).to_bytes(8, "little"))
        digest.update(data)
    return digest.hexdigest()


def _hashes(strings: Sequence[str]) -> np.ndarray:
    digests = b"".join(hashlib.blake2b(string.encode(), digest_size=8).digest() for string in strings)
    return np.frombuffer(digests, dtype="<i8").copy()

"""Bytes of tensors that are alive, followed operation by operation."""

from __future__ import annotations

import weakref
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class LiveBytes(TorchDispatchMode):
    """Counts the bytes of all storages made inside it, until they are freed.

    Autograd's saved tensors, gradients and optimiser state are storages like any other, so the peak is what a training
    step needs. Under a ``FakeTensorMode`` no memory is allocated for it: storages are only described.
    """

    def __init__(self) -> None:
        super().__init__()
        self.now = 0
        self.peak = 0
        self._storages: dict[int, weakref.ref] = {}

    def reset_peak(self) -> None:
        """Begin a new peak at what is alive now."""
        self.peak = self.now

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            if isinstance(leaf, Tensor):
                self._see(leaf.untyped_storage())
        return result

    def _see(self, storage: torch.UntypedStorage) -> None:
        key = storage._cdata  # the address of the storage itself, which views share; a fake one's data has none
        if key in self._storages:
            return
        size = storage.nbytes()

        def freed(_: weakref.ref) -> None:
            self.now -= size
            del self._storages[key]

        self._storages[key] = weakref.ref(storage, freed)
        self.now += size
        self.peak = max(self.peak, self.now)

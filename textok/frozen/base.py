"""A network that is used but never trained.

It lives outside ``nn.Module``'s own registry, so no optimiser, average, checkpoint or sharding ever sees its weights;
it still follows ``.to(device)`` and stays in evaluation mode.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn


class Frozen(nn.Module):
    """Base of all frozen networks: no parameters to iterate, an empty state dict, always in evaluation mode.

    A subclass sets ``self.network = …`` once (or later, from ``load``); the network is switched to evaluation and
    stripped of its gradients on the way.
    """

    _network: nn.Module | None = None

    @property
    def network(self) -> nn.Module:
        if self._network is None:
            raise RuntimeError(f"{type(self).__name__} has no weights yet: call load() before the first forward")
        return self._network

    @property
    def is_loaded(self) -> bool:
        return self._network is not None

    def __setattr__(self, name: str, value: object) -> None:
        if name == "network":
            assert isinstance(value, nn.Module)
            # Past nn.Module.__setattr__, which would register it as a child.
            object.__setattr__(self, "_network", value.eval().requires_grad_(False))
        else:
            super().__setattr__(name, value)

    def __deepcopy__(self, memo: dict) -> Frozen:
        return self  # it never changes, so copies of what holds it share one network

    def _apply(self, fn: Callable, recurse: bool = True) -> Frozen:
        # A parent's ``to_empty`` (meta-device start, sharding) must not empty real weights: only what ``fn`` does to
        # device and type is followed, which a scalar tells.
        if self._network is not None:
            weight = next(self._network.parameters())
            moved = fn(torch.zeros((), device=weight.device, dtype=weight.dtype))
            if moved.device.type != "meta":
                self._network.to(moved.device, moved.dtype)
        return super()._apply(fn, recurse)

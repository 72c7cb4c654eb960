"""Full float32 inside a block, whatever the trainer has set: a published number must not depend on its precision."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def full_precision(device: torch.device) -> Iterator[None]:
    """No autocast and no TF32 inside the block.

    cuDNN's convolutions use TF32 (10 bits of mantissa) by default, and a trainer that sets
    ``torch.set_float32_matmul_precision("high")`` switches matrix products to it: a feature would change by 1e-3.
    """
    with torch.autocast(device.type, enabled=False):
        cudnn, cuda = torch.backends.cudnn, torch.backends.cuda
        if hasattr(torch.backends, "fp32_precision"):  # since torch 2.9, which forbids reading the older switches here
            switches = [(cudnn.conv, "fp32_precision", "ieee"), (cuda.matmul, "fp32_precision", "ieee")]
        else:
            switches = [(cudnn, "allow_tf32", False), (cuda.matmul, "allow_tf32", False)]
        before = [getattr(owner, name) for owner, name, _ in switches]
        for owner, name, value in switches:
            setattr(owner, name, value)
        try:
            yield
        finally:
            for (owner, name, _), value in zip(switches, before):
                setattr(owner, name, value)

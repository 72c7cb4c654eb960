"""State dicts: compared by key and shape, loaded strictly, and told apart by a fingerprint."""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor, nn


def load_strictly(network: nn.Module, state: dict[str, Tensor], complaint: str, remedy: str) -> None:
    """Load a state dict that must fit.

    Args:
        network: The network.
        state: Its weights.
        complaint: What is wrong where they do not fit.
        remedy: What to do about it.

    Raises:
        ValueError: If a key or a shape does not fit; the first are named.
    """
    problems = mismatches(network.state_dict(), state)
    if problems:
        shown = "\n  ".join(problems[:12]) + (f"\n  … and {len(problems) - 12} more" if len(problems) > 12 else "")
        raise ValueError(f"{complaint}:\n  {shown}\n{remedy}")
    network.load_state_dict(state, strict=True)


def fingerprint(state: dict[str, Tensor]) -> str:
    """SHA-256 of the names, types, shapes and values of a state dict: the same on every machine and device."""
    digest = hashlib.sha256()
    for name in sorted(state):
        value = state[name].detach().cpu().contiguous()
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}\n".encode())
        digest.update(value.reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


def mismatches(expected: dict[str, Tensor], found: dict[str, Tensor]) -> list[str]:
    """One line for every key that is missing, unexpected, or of another shape."""
    lines = [
        f"shape: {key} is {tuple(found[key].shape)}, this model has {tuple(expected[key].shape)}"
        for key in expected
        if key in found and expected[key].shape != found[key].shape
    ]
    lines += [f"missing: {key} {tuple(expected[key].shape)}" for key in expected if key not in found]
    lines += [f"unexpected: {key} {tuple(found[key].shape)}" for key in found if key not in expected]
    return lines

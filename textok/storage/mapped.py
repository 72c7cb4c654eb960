"""Safetensors files whose arrays are mapped into memory: opened at once, read page by page, shared by all processes."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor


def map_tensors(path: str | Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors of a safetensors file, none of them read yet, and its metadata.

    Raises:
        ValueError: If the file is damaged.
        FileNotFoundError: If there is none.
    """
    from safetensors import SafetensorError, safe_open

    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist")
    try:
        with safe_open(path, "pt") as file:  # the tensors hold the mapping; it outlives the file object
            return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118
    except SafetensorError as error:
        raise ValueError(f"{path} is damaged ({error}): make it again") from None

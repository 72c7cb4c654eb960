"""Latents of a few pictures in one file, which says whose they are."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

from textok.storage import atomic_path


def write_latents(path: Path, latents: Tensor, captions: Sequence[str], pair_sha256: str) -> None:
    """Write (B, K, Z) latents with their captions and the fingerprint of the pair that made them."""
    from safetensors.torch import save_file

    about = {"textok_pair": pair_sha256, "captions": json.dumps(list(captions), ensure_ascii=False)}
    with atomic_path(path) as temporary:
        save_file({"latents": latents.contiguous()}, temporary, metadata=about)


def read_latents(path: Path, pair_sha256: str) -> tuple[Tensor, list[str]]:
    """The latents and their captions.

    Raises:
        ValueError: If this is no such file, or the latents are another pair's.
    """
    from safetensors import safe_open

    if not path.is_file():
        raise ValueError(f"there is no file {path}")
    try:
        with safe_open(path, "pt") as file:
            about, latents = file.metadata() or {}, file.get_tensor("latents")
    except Exception as error:  # safetensors has an error of its own
        raise ValueError(f"{path} holds no latents of textok encode ({error})") from error
    if about.get("textok_pair") != pair_sha256:
        raise ValueError(f"the latents of {path} were made by another tokenizer: decode them with that model")
    return latents, json.loads(about.get("captions", "[]")) or [""]

"""The folder of a pipeline: what lies in it, how it is written and read. It holds no pickle and no code.

config.json  model.safetensors  class_captions.json  README.md
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from textok.pipeline.networks import Description
from textok.storage import atomic_path, write_atomic, write_json

CONFIG, WEIGHTS, CAPTIONS, CARD = "config.json", "model.safetensors", "class_captions.json", "README.md"


def write_folder(
    path: Path, description: Description, state: dict[str, Tensor], class_captions: Sequence[Sequence[str]], card: str
) -> None:
    """Write a pipeline; the configuration comes last, so that a folder that has one is complete.

    Raises:
        ValueError: If there are other files in the folder, or it is a file.
    """
    from safetensors.torch import save_file

    if path.exists() and not path.is_dir():
        raise ValueError(f"{path} is a file: give a folder to write to")
    if path.is_dir() and any(path.iterdir()) and not (path / CONFIG).is_file():
        raise ValueError(f"{path} is not empty and holds no exported model: give another folder")
    (path / CONFIG).unlink(missing_ok=True)
    with atomic_path(path / WEIGHTS) as temporary:
        plain = {name: value.detach().cpu().contiguous().clone() for name, value in state.items()}
        save_file(plain, temporary, metadata={"format": "pt"})
    write_json(path / CAPTIONS, [list(captions) for captions in class_captions])
    write_atomic(path / CARD, card)
    write_json(path / CONFIG, description.to_json())


def read_folder(path: Path) -> tuple[Description, dict[str, Tensor], list[list[str]]]:
    """The description, the weights and the captions of the classes.

    Raises:
        ValueError: If a file is missing or damaged.
    """
    from safetensors.torch import load_file

    for name in (CONFIG, WEIGHTS):
        if not (path / name).is_file():
            raise ValueError(f"{path} holds no exported model: {name} is missing (textok export RUN FOLDER makes one)")
    try:
        description = Description.from_json(_read_json(path / CONFIG))
    except ValueError as error:
        raise ValueError(f"{path / CONFIG} cannot be used: {error}") from error
    try:
        state = load_file(path / WEIGHTS)
    except Exception as error:  # safetensors has an error of its own, which is no OSError
        raise ValueError(f"{path / WEIGHTS} is damaged ({error})") from error
    captions = _read_json(path / CAPTIONS) if (path / CAPTIONS).is_file() else []
    return description, state, captions


def find_folder(name: str | Path, revision: str | None = None) -> Path:
    """The folder of that name, or the downloaded files of the model that the hub has under it.

    Raises:
        ValueError: If there is neither.
    """
    folder = Path(name).expanduser()
    if folder.exists():
        return folder
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import (
        HFValidationError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    try:
        return Path(snapshot_download(str(name), revision=revision, allow_patterns=[CONFIG, WEIGHTS, CAPTIONS, CARD]))
    except HFValidationError as error:
        raise ValueError(f"there is no folder {name}, and it is no name of a model on the hub either") from error
    except RevisionNotFoundError as error:
        raise ValueError(f"the hub's model {name} has no revision {revision!r}") from error
    except RepositoryNotFoundError as error:
        raise ValueError(
            f"{name} is no folder here, and the hub has no such model, or a private one (hf auth login)"
        ) from error
    except LocalEntryNotFoundError as error:
        raise ValueError(
            f"{name} is no folder here, and the hub cannot be reached to look for it: check the network, or give the "
            "folder that textok export wrote"
        ) from error
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ValueError(f"{name} is no folder here and no model that the hub gives ({reason})") from error


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is no JSON ({error})") from error

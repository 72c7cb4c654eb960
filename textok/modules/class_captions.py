"""Captions that class-conditional samples are decoded with, from a JSON file.

The paper samples a class with captions of that class that were not seen in training. The file is a list with one
entry a label: ``{"name": "tench", "captions": ["a man holds a tench …", …]}``.
"""

from __future__ import annotations

import json
from pathlib import Path


def read_class_captions(path: str | Path, num_classes: int) -> list[list[str]]:
    """The captions of each class, by label.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is damaged or not of this many classes.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise FileNotFoundError(f"class_captions: {path} does not exist; textok bank classes writes such a file")
    try:
        lists = [entry["captions"] for entry in json.loads(path.read_text(encoding="utf-8"))]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f'class_captions: {path} is no list of {{"name": …, "captions": […]}}, one a class ({error!r})'
        ) from None
    for label, captions in enumerate(lists):
        if not isinstance(captions, list) or not all(isinstance(caption, str) for caption in captions):
            raise ValueError(f"class_captions: in {path} the captions of class {label} are no list of strings")
    if len(lists) != num_classes:
        raise ValueError(f"class_captions: {path} has {len(lists)} classes, the data has {num_classes}")
    return lists

"""textok: language-guided image tokenization (TexTok), trained end to end.

The names below are loaded when they are first used, so that ``import textok`` and ``textok --help`` stay quick.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

__version__ = "0.1.0"

if TYPE_CHECKING:
    from textok.models import DiT, TexTok
    from textok.runs import load_run
    from textok.types import Sizes, TextTokens

_HOMES = {
    "DiT": "textok.models",
    "Sizes": "textok.types",
    "TexTok": "textok.models",
    "TextTokens": "textok.types",
    "load_run": "textok.runs",
}

__all__ = ["DiT", "Sizes", "TexTok", "TextTokens", "__version__", "load_run"]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'textok' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)

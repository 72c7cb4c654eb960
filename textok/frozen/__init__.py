"""Networks that are used but never trained."""

from textok.frozen.base import Frozen

__all__ = ["Frozen"]

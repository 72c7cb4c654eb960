"""Networks that are used but never trained."""

from textok.frozen.base import Frozen
from textok.frozen.lite0 import Lite0, Lite0Features
from textok.frozen.logits import LogitNetwork

__all__ = ["Frozen", "Lite0", "Lite0Features", "LogitNetwork"]

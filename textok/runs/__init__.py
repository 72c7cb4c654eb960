"""Run folders: open one, compare configurations, load what it trained."""

from textok.runs.folder import RunFolder, compare_configs
from textok.runs.load import load_run

__all__ = ["RunFolder", "compare_configs", "load_run"]

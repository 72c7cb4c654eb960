"""Run folders: open one, compare configurations, load what it trained."""

from textok.runs.folder import RunFolder, compare_configs

__all__ = ["RunFolder", "compare_configs"]

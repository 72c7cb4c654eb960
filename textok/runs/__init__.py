"""Run folders: open one, compare configurations, load what it trained."""

import warnings

from textok.runs.folder import RunFolder, compare_configs
from textok.runs.load import load_run

__all__ = ["RunFolder", "compare_configs", "load_run"]

# Where Slurm is installed, a command on the machine that one has logged in to is meant as well.
warnings.filterwarnings("ignore", message="The `srun` command is available")

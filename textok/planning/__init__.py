"""What a user wants to know before the first GPU hour: what a configuration costs, and whether it can run."""

from textok.planning.configuration import parse
from textok.planning.estimate import Assumptions, Estimate, estimate
from textok.planning.gpus import GPUS, Gpu, find_gpu
from textok.planning.tables import tables

__all__ = ["GPUS", "Assumptions", "Estimate", "Gpu", "estimate", "find_gpu", "parse", "tables"]

"""What a user wants to know before the first GPU hour: what a configuration costs, and whether it can run."""

from textok.planning.configuration import parse
from textok.planning.doctor import CHECKS, examine, examine_options
from textok.planning.estimate import Assumptions, Estimate, estimate
from textok.planning.gpus import GPUS, Gpu, find_gpu
from textok.planning.plan import Finding, Plan
from textok.planning.tables import tables

__all__ = [
    "CHECKS",
    "GPUS",
    "Assumptions",
    "Estimate",
    "Finding",
    "Gpu",
    "Plan",
    "estimate",
    "examine",
    "examine_options",
    "find_gpu",
    "parse",
    "tables",
]

"""Measurement, pictures, averages and records: everything that watches a run."""

from textok.callbacks.checkpoint import AtomicCheckpointIO
from textok.callbacks.curves import CurveLogger
from textok.callbacks.ema import EMA
from textok.callbacks.generation import GenerationMetrics, TextToImageMetrics
from textok.callbacks.grids import ReconstructionGrid, SampleGrid
from textok.callbacks.predictions import ShardWriter
from textok.callbacks.progress import StepProgress
from textok.callbacks.prompts import PromptGrid
from textok.callbacks.reconstruction import ReconstructionMetrics
from textok.callbacks.results import ResultsWriter
from textok.callbacks.throughput import Throughput

__all__ = [
    "EMA",
    "AtomicCheckpointIO",
    "CurveLogger",
    "GenerationMetrics",
    "PromptGrid",
    "ReconstructionGrid",
    "ReconstructionMetrics",
    "ResultsWriter",
    "SampleGrid",
    "ShardWriter",
    "StepProgress",
    "TextToImageMetrics",
    "Throughput",
]

"""Measurement, pictures, averages and records: everything that watches a run."""

from textok.callbacks.background import BackgroundCheckpointIO
from textok.callbacks.checkpoint import AtomicCheckpointIO
from textok.callbacks.curves import CurveLogger, TensorBoardCurves
from textok.callbacks.ema import EMA
from textok.callbacks.final_checkpoint import FinalCheckpoint
from textok.callbacks.generation import GenerationMetrics, TextToImageMetrics
from textok.callbacks.grids import ReconstructionGrid, SampleGrid
from textok.callbacks.missed_validation import MissedValidation
from textok.callbacks.predictions import ShardWriter
from textok.callbacks.progress import StepProgress
from textok.callbacks.prompts import PromptGrid
from textok.callbacks.reconstruction import ReconstructionMetrics
from textok.callbacks.results import ResultsWriter
from textok.callbacks.signals import StopOnSignal
from textok.callbacks.stall import StallWatch
from textok.callbacks.throughput import Throughput
from textok.callbacks.watchdog import Watchdog

__all__ = [
    "EMA",
    "AtomicCheckpointIO",
    "BackgroundCheckpointIO",
    "CurveLogger",
    "FinalCheckpoint",
    "GenerationMetrics",
    "MissedValidation",
    "PromptGrid",
    "ReconstructionGrid",
    "ReconstructionMetrics",
    "ResultsWriter",
    "SampleGrid",
    "ShardWriter",
    "StallWatch",
    "StepProgress",
    "StopOnSignal",
    "TensorBoardCurves",
    "TextToImageMetrics",
    "Throughput",
    "Watchdog",
]

"""A trained model as a library object: pictures in, pictures out, without a run folder and without Lightning."""

from textok.pipeline.networks import Description
from textok.pipeline.pipeline import TexTokPipeline

__all__ = ["Description", "TexTokPipeline"]

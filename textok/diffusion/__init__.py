"""Diffusion over latent tokens: the training process, guidance, sampling, and the latents' scale."""

from textok.diffusion.generation import Generation
from textok.diffusion.guidance import (
    ClassifierFreeGuidance,
    ConstantGuidance,
    Guidance,
    IntervalGuidance,
    PowerCosineGuidance,
)
from textok.diffusion.latents import LatentNormalizer
from textok.diffusion.process import Denoiser, DiffusionProcess, GaussianDiffusion
from textok.diffusion.sampler import Sampler

__all__ = [
    "ClassifierFreeGuidance",
    "ConstantGuidance",
    "Denoiser",
    "DiffusionProcess",
    "GaussianDiffusion",
    "Generation",
    "Guidance",
    "IntervalGuidance",
    "LatentNormalizer",
    "PowerCosineGuidance",
    "Sampler",
]

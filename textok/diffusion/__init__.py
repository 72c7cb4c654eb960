"""Diffusion over latent tokens: the training process, guidance, sampling, and the latents' scale."""

from textok.diffusion.flow import RectifiedFlow
from textok.diffusion.gaussian import GaussianDiffusion, VelocityDiffusion
from textok.diffusion.generation import Generation
from textok.diffusion.guidance import (
    ClassifierFreeGuidance,
    ConstantGuidance,
    Guidance,
    IntervalGuidance,
    PowerCosineGuidance,
)
from textok.diffusion.latents import LatentNormalizer
from textok.diffusion.process import Denoiser, DiffusionProcess
from textok.diffusion.sampler import Sampler
from textok.diffusion.times import LogitNormalTime, TimeDistribution, UniformTime

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
    "LogitNormalTime",
    "PowerCosineGuidance",
    "RectifiedFlow",
    "Sampler",
    "TimeDistribution",
    "UniformTime",
    "VelocityDiffusion",
]

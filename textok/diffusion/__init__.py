"""Diffusion over latent tokens: the training process, guidance, sampling, and the latents' scale."""

from textok.diffusion.autoguidance import AutoGuidance
from textok.diffusion.flow import RectifiedFlow
from textok.diffusion.gaussian import GaussianDiffusion, VelocityDiffusion
from textok.diffusion.generation import Generation
from textok.diffusion.guidance import (
    ClassifierFreeGuidance,
    ConstantGuidance,
    Guidance,
    IntervalGuidance,
    LinearGuidance,
    PowerCosineGuidance,
)
from textok.diffusion.latents import LatentNormalizer
from textok.diffusion.process import Denoiser, DiffusionProcess
from textok.diffusion.projected import AdaptiveProjectedGuidance
from textok.diffusion.sampler import Sampler
from textok.diffusion.times import LogitNormalTime, TimeDistribution, UniformTime

__all__ = [
    "AdaptiveProjectedGuidance",
    "AutoGuidance",
    "ClassifierFreeGuidance",
    "ConstantGuidance",
    "Denoiser",
    "DiffusionProcess",
    "GaussianDiffusion",
    "Generation",
    "Guidance",
    "IntervalGuidance",
    "LatentNormalizer",
    "LinearGuidance",
    "LogitNormalTime",
    "PowerCosineGuidance",
    "RectifiedFlow",
    "Sampler",
    "TimeDistribution",
    "UniformTime",
    "VelocityDiffusion",
]

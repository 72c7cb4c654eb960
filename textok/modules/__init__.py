"""LightningModules: stage 1 (tokenizer) and stage 2 (generator). They own optimisation and nothing else."""

from textok.modules.base import TrainingModule
from textok.modules.generator import GeneratorModule
from textok.modules.tokenizer import AdversarialStage, LossWeights, TokenizerModule

__all__ = ["AdversarialStage", "GeneratorModule", "LossWeights", "TokenizerModule", "TrainingModule"]

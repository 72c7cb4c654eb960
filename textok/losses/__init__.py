"""What training minimises. Every loss is a scalar without its weight; the LightningModule weighs and adds."""

from textok.losses.adaptive import adaptive_weight
from textok.losses.adversarial import AdversarialLoss, HingeLoss, NonSaturatingLoss
from textok.losses.gradient_penalty import R1
from textok.losses.lecam import LeCAM
from textok.losses.perceptual import Lite0PerceptualLoss, LogitPerceptualLoss, LPIPSLoss, PerceptualLoss
from textok.losses.reconstruction import L1Loss, L2Loss, ReconstructionLoss

__all__ = [
    "R1",
    "AdversarialLoss",
    "HingeLoss",
    "L1Loss",
    "L2Loss",
    "LPIPSLoss",
    "LeCAM",
    "Lite0PerceptualLoss",
    "LogitPerceptualLoss",
    "NonSaturatingLoss",
    "PerceptualLoss",
    "ReconstructionLoss",
    "adaptive_weight",
]

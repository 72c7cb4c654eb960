"""Adversarial losses on logits: what the generator and what the discriminator minimise.

Both follow MAGVIT in adding the discriminator's two means, where VQGAN halves their sum. Logits may have any shape;
a map of a PatchGAN counts as that many samples.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch.nn.functional as F
from torch import Tensor, nn

from textok.losses.precision import full


class AdversarialLoss(nn.Module, ABC):
    """Base of the adversarial losses."""

    @abstractmethod
    def generator(self, fake_logits: Tensor) -> Tensor:
        """The scalar that the generator minimises, from the logits of its own pictures."""

    @abstractmethod
    def discriminator(self, real_logits: Tensor, fake_logits: Tensor) -> Tensor:
        """The scalar that the discriminator minimises."""


class NonSaturatingLoss(AdversarialLoss):
    """The non-saturating logistic loss of MAGVIT and StyleGAN: cross-entropy of real against fake.

    softplus(−x) = −log sigmoid(x). At zero logits the discriminator's loss is 2 log 2. Source: Goodfellow et al.,
    "Generative Adversarial Nets", section 3.
    """

    def generator(self, fake_logits: Tensor) -> Tensor:
        return F.softplus(-full(fake_logits)).mean()

    def discriminator(self, real_logits: Tensor, fake_logits: Tensor) -> Tensor:
        return F.softplus(-full(real_logits)).mean() + F.softplus(full(fake_logits)).mean()


class HingeLoss(AdversarialLoss):
    """The hinge loss: the discriminator stops at a margin of one, the generator raises its logits.

    Source: Lim and Ye, "Geometric GAN".
    """

    def generator(self, fake_logits: Tensor) -> Tensor:
        return -full(fake_logits).mean()

    def discriminator(self, real_logits: Tensor, fake_logits: Tensor) -> Tensor:
        return F.relu(1 - full(real_logits)).mean() + F.relu(1 + full(fake_logits)).mean()

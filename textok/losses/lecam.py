"""LeCAM: holds the discriminator's logits near their own moving averages, against overfitting to few pictures.

Source: Tseng et al., "Regularizing Generative Adversarial Networks under Limited Data", in the variant of MAGVIT's
public code: batch means instead of single logits, averages that start at zero and move after the penalty.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from textok.losses.precision import full
from textok.losses.ranks import mean_over_ranks


class LeCAM(nn.Module):
    """The penalty relu(mean(D_real) − ema_fake)² + relu(ema_real − mean(D_fake))², part of the discriminator's loss.

    The means are those of the whole batch over all ranks, and the averages are in the state dict.

    Args:
        decay: Decay of the two moving averages a step.
    """

    ema_real: Tensor
    ema_fake: Tensor

    def __init__(self, decay: float = 0.999) -> None:
        super().__init__()
        if not 0 <= decay < 1:
            raise ValueError(f"decay must be in [0, 1), got {decay}")
        self.decay = decay
        self.register_buffer("ema_real", torch.zeros(()))
        self.register_buffer("ema_fake", torch.zeros(()))

    def forward(self, real_logits: Tensor, fake_logits: Tensor) -> Tensor:
        """Logits of any shape → the scalar penalty, the same on every rank. Every rank must call it."""
        local = _means(real_logits, fake_logits)  # (2,)
        # The value of the whole batch with the gradient of this rank's part: every rank has the same penalty, so
        # averaging the ranks' gradients, as data-parallel training does, gives the gradient of the whole batch's mean.
        real, fake = (local + (mean_over_ranks(local) - local.detach())).unbind()
        return F.relu(real - self.ema_fake).square() + F.relu(self.ema_real - fake).square()

    @torch.no_grad()
    def update(self, real_logits: Tensor, fake_logits: Tensor, healthy: Tensor | None = None) -> None:
        """Move the averages; once a step, after the penalty, with the logits of all its micro-batches.

        Args:
            real_logits: Of any shape.
            fake_logits: Of any shape.
            healthy: () bool; the averages stay as they are where it is False. They move where it is None.
        """
        real, fake = mean_over_ranks(_means(real_logits, fake_logits)).unbind()
        if healthy is not None:
            real, fake = torch.where(healthy, real, self.ema_real), torch.where(healthy, fake, self.ema_fake)
        self.ema_real.lerp_(real.to(self.ema_real.dtype), 1 - self.decay)
        self.ema_fake.lerp_(fake.to(self.ema_fake.dtype), 1 - self.decay)


def _means(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    return torch.stack([full(real_logits).mean(), full(fake_logits).mean()])  # (2,)

"""The adaptive weight of VQGAN: gives the adversarial loss the pull on the generator's last layer that the others have.

Source: Esser et al., "Taming Transformers for High-Resolution Image Synthesis", equation 7; ε and limit of its code.
"""

from __future__ import annotations

import torch
from torch import Tensor

from textok.losses.precision import full
from textok.losses.ranks import mean_over_ranks


def adaptive_weight(
    reconstruction_loss: Tensor,
    adversarial_loss: Tensor,
    last_layer: Tensor,
    limit: float = 1e4,
    eps: float = 1e-4,
    scale: Tensor | float = 1.0,
) -> Tensor:
    """The ratio of two gradient norms at the last layer, |∇ reconstruction| / (|∇ adversarial| + ε), in [0, limit].

    Gradients are averaged over the ranks first, so that the ratio is that of the whole batch and every rank has the
    same; every rank must call it. Weights sharded over ranks are not supported.

    Args:
        reconstruction_loss: Scalar; all that the generator minimises beside the adversarial loss. Its graph is kept.
        adversarial_loss: Scalar; the generator's adversarial loss. Its graph is kept.
        last_layer: Weight of the generator's last layer.
        limit: Upper bound of the weight.
        eps: Keeps the ratio finite where the adversarial gradient vanishes.
        scale: Factor of both losses on their way back, that of a gradient scaler: float16 has nothing below 6e-8.

    Returns:
        The weight of the adversarial loss, a scalar without gradient.
    """
    norms = []
    for loss in (reconstruction_loss, adversarial_loss):
        (gradient,) = torch.autograd.grad(loss * scale, last_layer, retain_graph=True)
        norms.append(mean_over_ranks(full(gradient)).norm() / scale)
    return (norms[0] / (norms[1] + eps)).clamp(0.0, limit).detach()

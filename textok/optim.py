"""Parameter groups and learning-rate schedules; the optimisers themselves are torch's, named in YAML."""

from __future__ import annotations

import math

from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR


def parameter_groups(module: nn.Module) -> list[dict[str, object]]:
    """Two groups of trained parameters: the weights of linear and convolution layers, and all that weight decay must
    spare (biases, norms, embeddings, learned tables).

    An empty group is left out, since optimisers refuse it.
    """
    layers = (nn.Linear, nn.Conv2d)
    matrices = {id(layer.weight) for layer in module.modules() if isinstance(layer, layers)}
    decayed: list[nn.Parameter] = []
    spared: list[nn.Parameter] = []
    for parameter in module.parameters():
        if parameter.requires_grad:
            (decayed if id(parameter) in matrices else spared).append(parameter)
    groups: list[dict[str, object]] = [{"params": decayed}, {"params": spared, "weight_decay": 0.0}]
    return [group for group in groups if group["params"]]


class WarmupCosine(LambdaLR):
    """Linear warm-up from 0 to the peak, then half a cosine down to a final share of it (Loshchilov & Hutter 2017).

    Args:
        optimizer: The optimiser whose learning rates are peaks.
        total_steps: Steps of the whole run.
        warmup_steps: Steps of the warm-up.
        final: Learning rate at the end, as a share of the peak.
    """

    def __init__(self, optimizer: Optimizer, total_steps: int, warmup_steps: int = 0, final: float = 0.0) -> None:
        if not 0 <= warmup_steps <= total_steps:
            raise ValueError(
                f"warmup_steps must lie in 0 … {total_steps} (the updates there will be), got {warmup_steps}"
            )
        if not 0 <= final <= 1:
            raise ValueError(f"final must lie in 0 … 1, got {final}")

        def factor(step: int) -> float:
            if step < warmup_steps:
                return (step + 1) / (warmup_steps + 1)
            progress = min(1.0, (step - warmup_steps) / max(1, total_steps - warmup_steps))
            return final + (1.0 - final) * 0.5 * (1.0 + math.cos(math.pi * progress))

        super().__init__(optimizer, factor)


class Warmup(LambdaLR):
    """Linear warm-up from 0 to the peak, then constant: DiT's schedule with ``warmup_steps=0``.

    Args:
        optimizer: The optimiser whose learning rates are peaks.
        total_steps: Steps of the whole run; not used, every schedule receives it.
        warmup_steps: Steps of the warm-up.
    """

    def __init__(self, optimizer: Optimizer, total_steps: int, warmup_steps: int = 0) -> None:
        if warmup_steps < 0:
            raise ValueError(f"warmup_steps must not be negative, got {warmup_steps}")
        super().__init__(optimizer, lambda step: min(1.0, (step + 1) / (warmup_steps + 1)))

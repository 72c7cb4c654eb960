"""The Inception score, over equal parts in the images' own order."""

from __future__ import annotations

import math

import torch
from torch import Tensor

PART_SIZE = 5000  # ADM's; with 50,000 images these are also the ten parts of the original code


def num_parts(count: int) -> int:
    """In how many parts ``count`` images are scored: of about 5,000 images each."""
    return max(1, round(count / PART_SIZE))


def inception_score(logits: Tensor, parts: int | None = None) -> tuple[float, float]:
    """Mean and standard deviation over parts of exp(E KL(p(y|x) || p(y))).

    Source: Salimans et al., "Improved techniques for training GANs", section 4. Parts are consecutive and equal (to one
    image): a score over shuffled or unequal parts is another number. In log space, where a probability that underflows
    contributes nothing; ADM's evaluator makes NaN of it.

    Args:
        logits: (n, classes), unbiased (without the last layer's bias), in the order of the images.
        parts: Number of parts; None takes ``num_parts``.

    Raises:
        ValueError: If there are fewer images than parts.
    """
    parts = num_parts(len(logits)) if parts is None else parts
    if not 1 <= parts <= len(logits):
        raise ValueError(f"the Inception score of {len(logits)} images cannot be taken over {parts} parts")
    scores = []
    for i in range(parts):
        part = logits[i * len(logits) // parts : (i + 1) * len(logits) // parts].double()
        log_p = part.log_softmax(dim=1)
        log_q = log_p.logsumexp(dim=0) - math.log(len(part))
        kl = (log_p.exp() * (log_p - log_q)).sum(dim=1)
        scores.append(kl.mean().exp())
    scores = torch.stack(scores)
    return float(scores.mean()), float(scores.std(correction=0))

"""Which of its captions an image gets: a choice of the configuration, seeded by (seed, epoch, index)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Record:
    """What a policy may look at.

    Args:
        key: The stable name of the image.
        captions: Its captions, the best first.
        class_name: The name of its class.
    """

    key: str
    captions: list[str]
    class_name: str


class CaptionPolicy(ABC):
    """Chooses the caption of a training image.

    Args:
        drop: Probability that a training image gets no caption at all ("").
    """

    def __init__(self, drop: float = 0.0) -> None:
        if not 0.0 <= drop <= 1.0:
            raise ValueError(f"drop is a probability: it must lie in [0, 1], got {drop}")
        self.drop = drop

    @abstractmethod
    def choices(self, record: Record) -> list[str]:
        """Every caption that this policy can give to the image, the one for evaluation first; "" is always possible."""

    def pick(self, record: Record, generator: torch.Generator | None = None) -> str:
        """The caption of the image; "" where the policy finds none.

        Args:
            record: The image's record.
            generator: Draws among the choices in training. None, in evaluation, takes the first and drops nothing.
        """
        choices = self.choices(record)
        if generator is None:
            return choices[0] if choices else ""
        # Both numbers are always drawn, so that what follows from this generator does not depend on the captions.
        dropped, place = torch.rand(2, generator=generator, dtype=torch.float64).tolist()
        if not choices or dropped < self.drop:
            return ""
        return choices[int(place * len(choices))]


class FirstCaption(CaptionPolicy):
    """Always the first caption."""

    def choices(self, record: Record) -> list[str]:
        return record.captions[:1]


class RandomCaption(CaptionPolicy):
    """Any of the captions with equal probability, drawn anew each epoch; evaluation takes the first."""

    def choices(self, record: Record) -> list[str]:
        return record.captions

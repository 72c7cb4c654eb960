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

    def __repr__(self) -> str:
        """What the choices depend on, for the manifest of a cache; ``drop`` takes captions away and adds none."""
        choices = ", ".join(f"{name}={value!r}" for name, value in vars(self).items() if name != "drop")
        return f"{type(self).__name__}({choices})"

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


class LongestCaption(CaptionPolicy):
    """Always the caption with the most characters, the first of several."""

    def choices(self, record: Record) -> list[str]:
        return [max(record.captions, key=len)] if record.captions else []


class ClassName(CaptionPolicy):
    """The name of the class alone."""

    def choices(self, record: Record) -> list[str]:
        return [record.class_name]


class TemplateCaption(CaptionPolicy):
    """A sentence around the name of the class, as CLIP is asked (Radford et al., 2021).

    Args:
        template: The sentence, with {class} where the name goes.
        drop: Probability that a training image gets no caption at all ("").
    """

    def __init__(self, template: str = "a photo of a {class}", drop: float = 0.0) -> None:
        super().__init__(drop)
        if "{class}" not in template:
            raise ValueError(f"the template {template!r} has no {{class}}, so all images would get the same caption")
        self.template = template

    def choices(self, record: Record) -> list[str]:
        return [self.template.replace("{class}", record.class_name)]


class FirstWords(CaptionPolicy):
    """The first words of what another policy chooses; the paper compares 25 with 75 words.

    Args:
        num_words: How many words at most.
        policy: Chooses the caption; None takes the first.
        drop: Probability that a training image gets no caption at all ("").
    """

    def __init__(self, num_words: int, policy: CaptionPolicy | None = None, drop: float = 0.0) -> None:
        super().__init__(drop)
        if num_words < 1:
            raise ValueError(f"num_words must be at least 1, got {num_words}")
        self.num_words = num_words
        self.policy = without_drop(FirstCaption() if policy is None else policy)

    def choices(self, record: Record) -> list[str]:
        # Captions that are not cut keep their spaces.
        return [first_words(caption, self.num_words) for caption in self.policy.choices(record)]


class FirstThatHas(CaptionPolicy):
    """The first of several policies that finds a caption: the image's own, say, and else one made of its class.

    Args:
        policies: The policies, the preferred one first.
        drop: Probability that a training image gets no caption at all ("").
    """

    def __init__(self, policies: list[CaptionPolicy], drop: float = 0.0) -> None:
        super().__init__(drop)
        if not policies:
            raise ValueError("FirstThatHas needs at least one policy")
        self.policies = [without_drop(policy) for policy in policies]

    def choices(self, record: Record) -> list[str]:
        return next((found for policy in self.policies if (found := policy.choices(record))), [])


def first_words(caption: str, num_words: int) -> str:
    """A caption cut behind a number of words."""
    words = caption.split()
    return caption if len(words) <= num_words else " ".join(words[:num_words])


def without_drop(policy: CaptionPolicy) -> CaptionPolicy:
    """A policy inside another one; the outer one alone drops."""
    if policy.drop:
        raise ValueError(
            f"{type(policy).__name__} has drop {policy.drop}, but stands inside another policy: "
            "set drop of the outer one"
        )
    return policy

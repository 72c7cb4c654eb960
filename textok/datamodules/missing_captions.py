"""What becomes of a picture without a caption: in its source, or in a caption bank."""

from __future__ import annotations

from abc import ABC, abstractmethod


class MissingCaption(ABC):
    """Decides about pictures without a caption; they are counted in any case."""

    #: Whether a set with such a picture is refused.
    refuses: bool = False
    #: Whether the picture is left out of its set.
    skips: bool = False
    #: What becomes of these pictures, in a message.
    outcome: str = ""

    @abstractmethod
    def captions(self, own: list[str], class_name: str) -> list[str]:
        """The captions that such a picture gets.

        Args:
            own: Those that the dataset itself has.
            class_name: The name of its class.
        """


class RefuseImage(MissingCaption):
    """A picture without a caption is a mistake: the run stops and names it."""

    refuses = True
    outcome = "not allowed"

    def captions(self, own: list[str], class_name: str) -> list[str]:
        raise AssertionError("the set is refused before")


class SkipImage(MissingCaption):
    """The picture is left out."""

    skips = True
    outcome = "left out"

    def captions(self, own: list[str], class_name: str) -> list[str]:
        raise AssertionError("the picture is left out")


class OwnCaptions(MissingCaption):
    """A picture that a bank does not have keeps the captions of its dataset."""

    outcome = "with the dataset's own captions"

    def captions(self, own: list[str], class_name: str) -> list[str]:
        return own


class NoCaption(MissingCaption):
    """The picture has no caption: ""."""

    outcome = "without a caption"

    def captions(self, own: list[str], class_name: str) -> list[str]:
        return []


class TemplateForMissing(MissingCaption):
    """The picture is captioned by its class.

    Args:
        template: The caption, with {class} where the name goes.
    """

    outcome = "captioned by class"

    def __init__(self, template: str = "a photo of a {class}") -> None:
        self.template = template

    def captions(self, own: list[str], class_name: str) -> list[str]:
        return [self.template.replace("{class}", class_name)]

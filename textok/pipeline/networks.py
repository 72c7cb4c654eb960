"""The networks of a pipeline, described as in a run's configuration and built by the same parser's rules.

A description names classes by ``class_path`` and holds no code. Only classes of textok and diffusers are taken, and
those of the packages that the caller names: a downloaded description shall not choose what is imported.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, fields
from importlib.util import find_spec
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from textok.diffusion import DiffusionProcess, LatentNormalizer, Sampler
from textok.models import DiT, TextEncoder, TexTok
from textok.models.state import load_strictly
from textok.storage.spelling import spelled, unspelled
from textok.types import Sizes

#: Packages whose classes any description may name.
TRUSTED = ("textok", "diffusers")


@dataclass(frozen=True)
class Description:
    """What a pipeline consists of; the contents of ``config.json``.

    Args:
        sizes: Image size, classes, width and number of the text tokens.
        textok: Class path and arguments of the pair.
        text_encoder: Those of the frozen text encoder; None where there is none.
        dit: Those of the generator; None for a pair alone, as are the two below.
        process: Those of the diffusion process.
        sampler: Those of the sampler.
        class_names: The name of each class, where they are known.
    """

    sizes: Sizes
    textok: dict[str, Any]
    text_encoder: dict[str, Any] | None = None
    dit: dict[str, Any] | None = None
    process: dict[str, Any] | None = None
    sampler: dict[str, Any] | None = None
    class_names: list[str] = field(default_factory=list)

    #: Version of this layout of ``config.json``.
    FORMAT: ClassVar[int] = 1

    def to_json(self) -> dict[str, Any]:
        """Plain values that JSON can hold."""
        return {"format": self.FORMAT, "library": "textok", **spelled(asdict(self))}

    @classmethod
    def from_json(cls, data: Any) -> Description:
        """The inverse of :meth:`to_json`.

        Raises:
            ValueError: If these are not the contents of a textok ``config.json``.
        """
        if not isinstance(data, dict) or data.get("library") != "textok":
            raise ValueError('it does not describe a textok model (there is no "library": "textok" in it)')
        if data.get("format") != cls.FORMAT:
            raise ValueError(f"its format is {data.get('format')!r}, this version of textok reads {cls.FORMAT}")
        values = {entry.name: data[entry.name] for entry in fields(cls) if entry.name in data}
        # A class may be called "nan".
        values = {name: value if name == "class_names" else unspelled(value) for name, value in values.items()}
        try:
            return cls(**{**values, "sizes": Sizes(**values.get("sizes", {}))})
        except TypeError as error:
            raise ValueError(f"it is incomplete ({error})") from error

    @property
    def has_generator(self) -> bool:
        return self.dit is not None


class Networks(nn.Module):
    """The networks that a description names, with random weights. Its state dict is what an export stores.

    Args:
        description: What to build.
        trusted: Further packages whose classes may be named, such as one with plug-ins of one's own.

    Raises:
        ValueError: If a class or an argument does not fit; the message says which.
    """

    def __init__(self, description: Description, trusted: Sequence[str] = ()) -> None:
        super().__init__()
        sections = ("textok", "text_encoder", "dit", "process", "sampler")
        parts = instantiate(
            {
                "textok": Callable[[Sizes], TexTok],
                "text_encoder": TextEncoder | None,
                "dit": Callable[[int, int, int, Sizes], DiT] | None,
                "process": DiffusionProcess | None,
                "sampler": Sampler | None,
            },
            {name: getattr(description, name) for name in sections},
            trusted,
        )
        sizes = description.sizes
        self.text_encoder: TextEncoder | None = parts["text_encoder"]
        if self.text_encoder is not None:
            found = (self.text_encoder.dim, self.text_encoder.num_tokens)
            if found != (sizes.text_dim, sizes.num_text_tokens):
                raise ValueError(
                    f"the text encoder gives {found[1]} tokens of width {found[0]}, the networks were made for "
                    f"{sizes.num_text_tokens} of width {sizes.text_dim}: it is another one"
                )
        self.pair: TexTok = parts["textok"](sizes)
        self.dit: DiT | None = None
        if description.has_generator:
            if parts["process"] is None or parts["sampler"] is None:
                raise ValueError("a generator (dit) needs a process and a sampler as well")
            self.process: DiffusionProcess = parts["process"]
            self.sampler: Sampler = parts["sampler"]
            self.sampler.check(self.process)
            if self.sampler.guidance.needs_network:
                raise ValueError(
                    f"{type(self.sampler.guidance).__name__} guides by the network of a second checkpoint, which is no "
                    "part of a pipeline: give the run a sampler with another guidance"
                )
            dim = self.pair.latent_dim
            self.dit = parts["dit"](self.pair.num_latents, dim, self.process.out_dim(dim), sizes)
            self.normalizer = LatentNormalizer(dim)
        self.eval().requires_grad_(False)

    @property
    def device(self) -> torch.device:
        return self.pair.last_layer.device

    @property
    def needs_text(self) -> bool:
        """Whether a network reads text tokens."""
        return self.pair.needs_text or self.generator_reads_text

    @property
    def generator_reads_text(self) -> bool:
        """Whether the generator itself, and not only the detokenizer, follows a prompt."""
        return self.dit is not None and self.dit.needs_text

    def load(self, state: dict[str, Tensor]) -> None:
        """Take over weights, strictly.

        Raises:
            ValueError: If a key or a shape does not fit; the first ones are named.
        """
        load_strictly(self, state, "the weights do not fit the networks", "Were they of another model?")

    def load_text_encoder(self) -> None:
        """Read the text encoder's own weights, unless no network reads captions."""
        if self.text_encoder is not None and self.needs_text:
            self.text_encoder.load(self.device)


def instantiate(types: dict[str, Any], values: dict[str, Any], trusted: Sequence[str] = ()) -> dict[str, Any]:
    """Build objects from their class paths and arguments.

    Args:
        types: The type that each shall have; a callable's is a factory that is still to be called.
        values: ``class_path`` and ``init_args`` of each, or None.
        trusted: Packages whose classes may be named, beside textok and diffusers.

    Raises:
        ValueError: With the reason.
    """
    for path in _class_paths(values):
        if path.split(".")[0] not in (*TRUSTED, *trusted) or "." not in path:
            package = path.split(".")[0]
            raise ValueError(
                f"it names {path!r}, a class of another package: pass trusted=[{package!r}] if you trust it"
            )
    from jsonargparse import ArgumentParser

    parser = ArgumentParser(exit_on_error=False)
    for name, kind in types.items():
        parser.add_argument(f"--{name}", type=kind)
    try:
        built = parser.instantiate_classes(parser.parse_object(values))
    except argparse.ArgumentError as error:
        # jsonargparse repeats the whole value behind the reason.
        reason = " ".join(str(error).split()).split(" Got value: ")[0].split(" Given value")[0]
        raise ValueError(reason) from error
    return {name: built[name] for name in types}


def _class_paths(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if "class_path" in value:
            yield str(value["class_path"])
        for each in value.values():
            yield from _class_paths(each)
    elif isinstance(value, list):
        for each in value:
            yield from _class_paths(each)
    elif isinstance(value, str) and re.fullmatch(r"\w+(\.\w+)+", value) and find_spec(value.split(".")[0]):
        yield value  # jsonargparse takes a bare dotted name for a class path, too

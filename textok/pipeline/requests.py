"""What people ask for, checked: class names, prompts, and their numbers."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

from textok.models import TextEncoder


def label_of(asked: int | str, class_names: Sequence[str], num_classes: int) -> int:
    """The label of a class that is given by its number or its name, in any case.

    Raises:
        ValueError: If the number is out of range, or there is no such name; the nearest ones are told.
    """
    if num_classes == 0:
        raise ValueError(f"class {asked!r} was asked for, but this model knows no classes: give a prompt")
    if isinstance(asked, str) and not asked.strip().lstrip("-").isdigit():
        return _named(asked, class_names, num_classes)
    label = int(asked)
    if not 0 <= label < num_classes:
        raise ValueError(f"label {label} is out of range: the classes are 0 … {num_classes - 1}")
    return label


def _named(name: str, class_names: Sequence[str], num_classes: int) -> int:
    if not class_names:
        raise ValueError(f"this model does not know its classes' names: give a number, 0 … {num_classes - 1}")
    known = {each.lower(): number for number, each in enumerate(class_names)}
    wanted = name.strip().lower()
    if wanted in known:
        return known[wanted]
    near = [each for each in known if wanted and wanted in each]
    near += difflib.get_close_matches(wanted, known, n=5, cutoff=0.5)
    near = list(dict.fromkeys(near))[:5] or list(known)[:5]
    told = ", ".join(repr(class_names[known[each]]) for each in near)
    raise ValueError(f"there is no class {name!r} among {len(class_names)}; the nearest names are {told}")


def checked_captions(
    captions: str | Sequence[str] | None, count: int | None, encoder: TextEncoder | None, cut: bool = False
) -> list[str]:
    """One caption for each of ``count`` pictures; None gives each none, one alone goes with all of them.

    Args:
        captions: One, several, or none.
        count: How many there must be; None takes as many as are given.
        encoder: Text encoder that will read them; None where no network does.
        cut: Let the encoder cut a caption that is too long, instead of refusing it.

    Raises:
        ValueError: If their number does not fit, or one is longer than the encoder takes.
    """
    rows = [captions or ""] if captions is None or isinstance(captions, str) else list(captions)
    if len(rows) == 1 and count is not None:
        rows = rows * count
    if count is not None and len(rows) != count:
        raise ValueError(f"{len(rows)} captions for {count} pictures: give one for each, one for all, or none")
    if encoder is not None and not cut:
        for caption in dict.fromkeys(rows):
            _, length = encoder.token_ids(caption) if caption else ([], 0)
            if length > encoder.num_tokens:
                raise ValueError(
                    f"a caption has {length} text tokens, this model reads {encoder.num_tokens}: shorten "
                    f"{_shown(caption)}, or allow it to be cut"
                )
    return rows


def checked_prompts(prompts: str | Sequence[str] | None) -> list[str] | None:
    """Prompts as a list; None stays None.

    Raises:
        ValueError: If there are none in the list, or one has no words.
    """
    if prompts is None:
        return None
    rows = [prompts] if isinstance(prompts, str) else list(prompts)
    if not rows:
        raise ValueError("the list of prompts is empty")
    for number, prompt in enumerate(rows):
        if not prompt.strip():
            raise ValueError(f"prompt {number + 1} of {len(rows)} is empty ({prompt!r}): give words, or a label alone")
    return rows


def _shown(text: str) -> str:
    return repr(text if len(text) <= 60 else f"{text[:57]}…")

"""Which captions a reconstruction is asked for, beside its own: what the text carries shows in the difference."""

from __future__ import annotations

from collections.abc import Sequence


def other_captions(captions: Sequence[str], valid: Sequence[bool], spare: Sequence[str] = ()) -> list[str | None]:
    """Another image's caption for each image, without chance.

    An image gets the caption of the valid image half a batch on, or of the first after it, going round at the end,
    whose caption is neither empty nor its own string: neighbours in a dataset's order are often relatives, whose
    captions would be right by half. After those the ``spare`` captions are tried (a batch of one image has no other).

    Args:
        captions: The batch's captions.
        valid: False for images whose caption is nobody's (padding).
        spare: Captions from elsewhere, the last one first.

    Returns:
        One caption an image; None where there is no other.
    """
    count, half = len(captions), max(1, len(captions) // 2)
    others: list[str | None] = []
    for row, own in enumerate(captions):
        away = [(row + offset) % count for offset in (*range(half, count), *range(1, half))]
        candidates = [captions[i] for i in away if valid[i]] + list(reversed(spare))
        others.append(next((caption for caption in candidates if caption and caption != own), None))
    return others

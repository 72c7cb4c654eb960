"""Which captions a reconstruction is asked for, beside its own: what the text carries shows in the difference."""

from __future__ import annotations

from collections.abc import Sequence


def other_captions(captions: Sequence[str], valid: Sequence[bool], spare: Sequence[str] = ()) -> list[str | None]:
    """Another image's caption for each image, without chance.

    An image gets the caption of the next valid image in its batch, going round at the end, whose caption is neither
    empty nor its own string; after those the ``spare`` captions are tried (a batch of one image has no other).

    Args:
        captions: The batch's captions.
        valid: False for images whose caption is nobody's (padding).
        spare: Captions from elsewhere, the last one first.

    Returns:
        One caption an image; None where there is no other.
    """
    others: list[str | None] = []
    for row, own in enumerate(captions):
        following = [*range(row + 1, len(captions)), *range(row)]
        candidates = [captions[i] for i in following if valid[i]] + list(reversed(spare))
        others.append(next((caption for caption in candidates if caption and caption != own), None))
    return others

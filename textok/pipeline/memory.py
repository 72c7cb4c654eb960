"""How many pictures fit into memory at once, by an estimate that errs on the large side."""

from __future__ import annotations

from textok.models import DiT, TexTok

#: Float32 values that a block holds at once for each token and channel: input, normalised input, query, key and value,
#: output (6), the hidden MLP before and after its activation (8), and as much again for what torch keeps free.
VALUES = 28
BYTES = 4


def bytes_per_image(pair: TexTok, dit: DiT | None = None) -> int:
    """An upper estimate of the bytes one picture takes while it is encoded, decoded or generated, weights aside.

    Args:
        pair: The pair.
        dit: The generator, counted twice for both branches of guidance; None if nothing is generated.
    """
    sizes = pair.sizes
    patches = (sizes.image_size // pair.patch_size) ** 2
    sequence = patches + pair.num_latents + sizes.num_text_tokens
    width = pair.last_layer.shape[1]
    pixels = 4 * 3 * sizes.image_size**2  # the picture as floats and as bytes, and its patches
    text = 2 * sizes.num_text_tokens * sizes.text_dim
    both = VALUES * sequence * width + pixels + text
    generated = 2 * VALUES * (dit.num_latents * dit.width) if dit is not None else 0
    return BYTES * max(both, generated + text)


def batch_size_for(memory: float, bytes_each: int, largest: int = 256) -> int:
    """Pictures at once within ``memory`` GiB; at least one, at most ``largest``, beyond which nothing gets faster."""
    if not memory > 0:
        raise ValueError(f"memory must be positive (GiB), got {memory}")
    return max(1, min(largest, int(memory * 2**30) // bytes_each))

"""What is done to each transformer block before training: recompute its activations, compile it.

Both change a block's ``forward`` in place: names of weights, and so checkpoints, stay as they are. Whatever shards a
block works around its ``forward`` and goes on top.
"""

from __future__ import annotations

from functools import partial

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint


def compile_block(block: nn.Module, backend: str) -> None:
    """Compile a block's forward.

    Args:
        block: The block.
        backend: A backend of ``torch.compile``: inductor, or for debugging eager and aot_eager.

    Raises:
        ValueError: If torch knows no such backend.
    """
    known = torch.compiler.list_backends(exclude_tags=())
    if backend not in known:
        raise ValueError(f"compile_backend {backend!r} is none of torch's: {', '.join(known)}")
    block.forward = torch.compile(block.forward, backend=backend)


def checkpoint_block(block: nn.Module) -> None:
    """Keep a block's input only, and compute the rest again in the backward pass.

    A block costs one more forward (a third of its work) and its activations no memory but its input. Blocks draw no
    noise, so there is no random state to keep.
    """
    block.forward = partial(checkpoint, block.forward, use_reentrant=False, preserve_rng_state=False)

"""Text tokens of captions met before, so that a caption is not encoded twice.

They lie on the CPU without their padding; when the memory is full, the captions not asked for longest are forgotten.
"""

from __future__ import annotations

from collections import OrderedDict

from torch import Tensor


class CaptionCache:
    """A bounded memory of text tokens, keyed by the exact caption.

    Args:
        mib: Memory for the tokens in MiB; 0 keeps nothing.
    """

    def __init__(self, mib: int) -> None:
        if mib < 0:
            raise ValueError(f"cache_mib must not be negative, got {mib}")
        self.capacity = mib * 2**20  # bytes
        self.num_bytes = 0
        self._entries: OrderedDict[str, Tensor] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, caption: str) -> bool:
        return caption in self._entries

    def get(self, caption: str) -> Tensor | None:
        """The (n, E) tokens of a caption, or None where it is not known; asking counts as use."""
        if caption not in self._entries:
            return None
        self._entries.move_to_end(caption)
        return self._entries[caption]

    def put(self, caption: str, tokens: Tensor) -> None:
        """Keep (n, E) tokens, copied to memory of their own: a view would keep its whole padded batch alive."""
        if tokens.nbytes > self.capacity:
            return
        self._forget(caption)
        while self.num_bytes + tokens.nbytes > self.capacity:
            self._forget(next(iter(self._entries)))
        self._entries[caption] = tokens.clone()
        self.num_bytes += tokens.nbytes

    def clear(self) -> None:
        self._entries.clear()
        self.num_bytes = 0

    def _forget(self, caption: str) -> None:
        tokens = self._entries.pop(caption, None)
        if tokens is not None:
            self.num_bytes -= tokens.nbytes

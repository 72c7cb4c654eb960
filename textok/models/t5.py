"""T5, the text encoder of the paper: the encoder half alone, from a folder or the hub."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Literal

from textok.models.huggingface import HuggingFaceTextEncoder, is_folder

if TYPE_CHECKING:
    from transformers import PretrainedConfig

#: Width of the published sizes (d_model of their config.json); T5, T5 v1.1 and flan-T5 agree.
WIDTHS = {"small": 512, "base": 768, "large": 1024, "3b": 1024, "11b": 1024, "xl": 2048, "xxl": 4096}
PUBLISHED = re.compile(r"(?:flan-)?t5-(?:v1_1-)?(small|base|large|3b|11b|xl|xxl)(?:-lm-adapt)?")


class T5TextEncoder(HuggingFaceTextEncoder):
    """Text tokens are the last hidden states of T5's encoder (Raffel et al., JMLR 2020); the decoder is not read.

    The paper takes XL at 256² and XXL at 512², captions of at most 75 words, 128 tokens; v1.1 is our choice.

    Args:
        name: Name on the hub, or folder with config.json, weights and the text tokenizer's files.
        num_tokens: Length L to which captions are padded; a longer one is cut, counted and reported once.
        dim: Width E of the text tokens. By default known for the published T5, T5 v1.1 and flan-T5, and read from
            config.json in a folder or in the Hugging Face cache; needed for other names on the hub.
        dtype: Precision of the weights and of the computation, whatever autocast surrounds it. bfloat16 halves the
            memory (XL 2.4 GB, XXL 9.5 GB); float16 is not offered, T5 overflows in it.
        chunk_size: Captions that go through the network at once; always this many, filled up if need be. 1 is best
            for single captions on a CPU.
        cache_mib: Memory in MiB for the tokens of captions met before; 0 switches the cache off. In bfloat16, 512 MiB
            hold about 1,300 captions of 100 tokens of XL.
        normalize: Give each token zero mean and unit variance over its E values.
    """

    def __init__(
        self,
        name: str = "google/t5-v1_1-xl",
        num_tokens: int = 128,
        dim: int | None = None,
        dtype: Literal["float32", "bfloat16"] = "float32",
        chunk_size: int = 8,
        cache_mib: int = 512,
        normalize: bool = False,
    ) -> None:
        super().__init__(
            name, num_tokens, published_dim(name) if dim is None else dim, dtype, chunk_size, cache_mib, normalize
        )

    def network_class(self, config: PretrainedConfig) -> Any:
        from transformers import T5EncoderModel

        return T5EncoderModel


def published_dim(name: str) -> int | None:
    """Width of a T5 that is published under this name; None for a folder or another name."""
    known = PUBLISHED.fullmatch(name.rpartition("/")[2].lower())
    return WIDTHS[known[1]] if known and not is_folder(name) else None

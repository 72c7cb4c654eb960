"""Pure torch networks: the pair, the generator, discriminators, text encoders and their plug-ins."""

from textok.models.bottleneck import Bottleneck, KLBottleneck, NoisyBottleneck, PlainBottleneck
from textok.models.conditioning import (
    ClassEmbedding,
    CrossAttention,
    InContext,
    NoText,
    PooledText,
    TextConditioning,
)
from textok.models.discriminator import (
    AveragePool,
    BlurPool,
    Discriminator,
    PatchGANDiscriminator,
    StyleGANDiscriminator,
)
from textok.models.dit import DiT
from textok.models.dit_t2i import DiTT2I
from textok.models.huggingface import HuggingFaceTextEncoder
from textok.models.random_text import RandomTextEncoder
from textok.models.t5 import T5TextEncoder
from textok.models.text_encoder import TextEncoder
from textok.models.tokenizer import Detokenizer, TexTok, Tokenizer

__all__ = [
    "AveragePool",
    "BlurPool",
    "Bottleneck",
    "ClassEmbedding",
    "CrossAttention",
    "Detokenizer",
    "DiT",
    "DiTT2I",
    "Discriminator",
    "HuggingFaceTextEncoder",
    "InContext",
    "KLBottleneck",
    "NoText",
    "NoisyBottleneck",
    "PatchGANDiscriminator",
    "PlainBottleneck",
    "PooledText",
    "RandomTextEncoder",
    "StyleGANDiscriminator",
    "T5TextEncoder",
    "TexTok",
    "TextConditioning",
    "TextEncoder",
    "Tokenizer",
]

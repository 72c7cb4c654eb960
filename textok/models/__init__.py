"""Pure torch networks: the pair, the generator, discriminators, text encoders and their plug-ins."""

from textok.models.bottleneck import Bottleneck, KLBottleneck, NoisyBottleneck, PlainBottleneck
from textok.models.conditioning import InContext, NoText, TextConditioning
from textok.models.tokenizer import Detokenizer, TexTok, Tokenizer

__all__ = [
    "Bottleneck",
    "Detokenizer",
    "InContext",
    "KLBottleneck",
    "NoText",
    "NoisyBottleneck",
    "PlainBottleneck",
    "TexTok",
    "TextConditioning",
    "Tokenizer",
]

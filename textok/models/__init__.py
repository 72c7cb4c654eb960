"""Pure torch networks: the pair, the generator, discriminators, text encoders and their plug-ins."""

from textok.models.bottleneck import Bottleneck, KLBottleneck, NoisyBottleneck, PlainBottleneck
from textok.models.conditioning import InContext, NoText, TextConditioning
from textok.models.discriminator import (
    AveragePool,
    BlurPool,
    Discriminator,
    PatchGANDiscriminator,
    StyleGANDiscriminator,
)
from textok.models.dit import DiT
from textok.models.tokenizer import Detokenizer, TexTok, Tokenizer

__all__ = [
    "AveragePool",
    "BlurPool",
    "Bottleneck",
    "Detokenizer",
    "DiT",
    "Discriminator",
    "InContext",
    "KLBottleneck",
    "NoText",
    "NoisyBottleneck",
    "PatchGANDiscriminator",
    "PlainBottleneck",
    "StyleGANDiscriminator",
    "TexTok",
    "TextConditioning",
    "Tokenizer",
]

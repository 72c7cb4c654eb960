"""How a caption or a class enters the halves of the pair: the plug-in behind the paper's Table 4, one class a file."""

from textok.models.conditioning.base import TextConditioning
from textok.models.conditioning.class_embedding import ClassEmbedding
from textok.models.conditioning.cross_attention import CrossAttention
from textok.models.conditioning.in_context import InContext
from textok.models.conditioning.no_text import NoText
from textok.models.conditioning.pooled_text import PooledText

__all__ = ["ClassEmbedding", "CrossAttention", "InContext", "NoText", "PooledText", "TextConditioning"]

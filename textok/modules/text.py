"""How both stages come by text tokens: from their frozen encoder, or from the cache of a datamodule."""

from __future__ import annotations

import torch
from lightning.pytorch import LightningModule

from textok.losses.ranks import mean_over_ranks
from textok.models import TexTok
from textok.models.text_encoder import TextEncoder
from textok.modules.sharding import shard_text_encoder
from textok.types import Batch, ServesText, Sizes, TextTokens


class TextModule(LightningModule):
    """A LightningModule with a pair and the encoder of its captions; the encoder is in no checkpoint.

    A subclass sets ``self.textok``.

    Args:
        text_encoder: Frozen encoder of the captions.
        image_size: Height and width of the images.
        num_classes: Classes of the data.
        shard_text_encoder: Spread the encoder's weights over the processes, where the strategy spreads weights.
    """

    textok: TexTok

    def __init__(
        self, text_encoder: TextEncoder | None, image_size: int, num_classes: int, shard_text_encoder: bool = False
    ) -> None:
        super().__init__()
        self.sizes = Sizes(
            image_size,
            num_classes,
            text_dim=text_encoder.dim if text_encoder is not None else 0,
            num_text_tokens=text_encoder.num_tokens if text_encoder is not None else 0,
        )
        self.text_encoder = text_encoder
        self.shard_text_encoder = shard_text_encoder

    @property
    def is_sharded(self) -> bool:
        """Whether the strategy spreads weights over the processes."""
        return self.device_mesh is not None

    @property
    def needs_text(self) -> bool:
        """Whether a network reads text tokens; captions are not encoded otherwise."""
        return self.textok.needs_text

    @property
    def encodes_batches(self) -> bool:
        """Whether the captions of batches have to go through the text encoder."""
        return self.needs_text and self._text_source() is None

    def configure_model(self) -> None:
        if self.encodes_batches:
            self._load_text_encoder()

    def setup(self, stage: str) -> None:
        source = self._text_source()
        if source is not None and self.text_encoder is not None:
            source.check_encoder(self.text_encoder.identity)

    def encode_text(self, batch: Batch) -> TextTokens | None:
        """Text tokens of a batch, from its cache or from the encoder; the only caller of the encoder in training."""
        return batch.text if batch.text is not None else self.encode_captions(batch.caption)

    def encode_captions(self, captions: list[str]) -> TextTokens | None:
        if not self.needs_text:
            return None
        source = self._text_source()
        text = source.text_tokens(captions) if source is not None else None
        if self._is_missing(text):
            self._load_text_encoder()  # captions that no cache has, such as a prompt of one's own
            encoded = self.text_encoder(captions if text is None else [])
            text = encoded if text is None else text
        return text.to(self.device)

    def _is_missing(self, text: TextTokens | None) -> bool:
        """Whether the encoder has to run: a sharded one on all ranks as soon as a cache lacks a caption of one's."""
        if self._text_source() is None or not (self.shard_text_encoder and self.is_sharded):
            return text is None
        return bool(mean_over_ranks(torch.tensor(float(text is None), device=self.device)) > 0)

    def _load_text_encoder(self) -> None:
        if self.text_encoder is not None and not self.text_encoder.is_loaded:
            self.text_encoder.load()
            if self.shard_text_encoder and self.is_sharded:
                shard_text_encoder(self.text_encoder, self.device_mesh["data_parallel"])
            self.text_encoder.to(self.device)

    def _text_source(self) -> ServesText | None:
        """The datamodule, where its batches bring text tokens: the encoder's weights are not needed then."""
        data = getattr(self._trainer, "datamodule", None)
        return data if isinstance(data, ServesText) and data.brings_text else None

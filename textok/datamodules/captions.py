"""Captioned pictures as they lie on the disk: folders, manifests, COCO, tars; one set or several mixed."""

from __future__ import annotations

from pathlib import Path

from textok.datamodules.bad_data import BadData
from textok.datamodules.bank_captions import BankCaptions
from textok.datamodules.base import ImageDataModule, Splits
from textok.datamodules.crops import ADMCrop, EvalCrop
from textok.datamodules.decoding import Decoder
from textok.datamodules.missing_captions import MissingCaption, NoCaption, RefuseImage
from textok.datamodules.policies import CaptionPolicy
from textok.datamodules.source_images import Listing, SourceImages, held_out, list_sources
from textok.datamodules.sources import Source
from textok.datamodules.transforms import Augmentation


class CaptionDataModule(ImageDataModule):
    """Captioned pictures from one or several sources.

    Classes are the categories of the sources, sorted; sources without any make one class.

    Args:
        sources: Where the training pictures are.
        image_size: Height and width of the samples in pixels.
        num_classes: Classes of the data; 1 where the sources name none.
        held_out: Where the held-out pictures are; None holds out a share of the training sources.
        held_out_share: Share of the pictures that is held out, chosen by a hash of the key, where ``held_out`` is None.
        missing: What becomes of pictures without a caption; None refuses them, unless a bank brings the captions.
        batch_size: Images of a training batch on one process.
        eval_batch_size: Images of an evaluation batch on one process; None takes ``batch_size``.
        num_workers: Worker processes of each loader; 0 reads in the main process.
        seed: Seed of order, augmentation and caption choice.
        augmentation: How training varies the pictures.
        caption_policy: Which caption an image gets; None takes the first.
        caption_bank: Captions from a bank instead of the dataset's own.
        text_cache: Folder that textok cache text wrote: batches bring text tokens and no encoder is loaded.
        crop: How evaluation makes a square of a picture; None takes ADM's centre crop.
        decoder: How bytes become pictures.
        bad_data: What happens to pictures that cannot be read.
    """

    def __init__(
        self,
        sources: list[Source],
        image_size: int = 256,
        num_classes: int = 1,
        held_out: list[Source] | None = None,
        held_out_share: float = 0.05,
        missing: MissingCaption | None = None,
        batch_size: int = 64,
        eval_batch_size: int | None = None,
        num_workers: int = 4,
        seed: int = 0,
        augmentation: Augmentation = Augmentation(),  # noqa: B008 - frozen
        caption_policy: CaptionPolicy | None = None,
        caption_bank: BankCaptions | None = None,
        text_cache: Path | None = None,
        crop: EvalCrop | None = None,
        decoder: Decoder = Decoder(),  # noqa: B008 - frozen
        bad_data: BadData = BadData(),  # noqa: B008 - frozen
    ) -> None:
        if not sources or held_out == []:
            raise ValueError(f"{'held_out' if sources else 'sources'} is an empty list: name at least one source")
        if held_out is None and not 0.0 < held_out_share < 1.0:
            raise ValueError(f"held_out_share must lie between 0 and 1, got {held_out_share}")
        super().__init__(
            image_size,
            num_classes,
            batch_size,
            eval_batch_size,
            num_workers,
            seed,
            augmentation,
            caption_policy,
            caption_bank,
            text_cache,
            crop=ADMCrop() if crop is None else crop,
            bad_data=bad_data,
        )
        self.sources = sources
        self.held_out = held_out
        self.held_out_share = held_out_share
        # What a bank is to caption need not have captions before; what the bank lacks is its own ``missing``.
        by_default = RefuseImage() if caption_bank is None else NoCaption()
        self.missing = by_default if missing is None else missing
        self.decoder = decoder

    def load(self) -> Splits:
        listing = list_sources(self.sources)
        if self.held_out is not None:
            train, other = listing, list_sources(self.held_out)
        else:
            train, other = split_by_key(listing, self.held_out_share)
        names = sorted({row.category for row in train.rows})
        labels = {name: label for label, name in enumerate(names)}
        return Splits(
            SourceImages(train, labels, names, self.decoder, self.missing, "training"),
            SourceImages(other, labels, names, self.decoder, self.missing, "held-out"),
            names,
        )


def split_by_key(listing: Listing, share: float) -> tuple[Listing, Listing]:
    """Training and held-out part by a hash of each key; what was skipped counts to training.

    Raises:
        ValueError: If one of them is empty.
    """
    train = listing.kept(lambda row: not held_out(row.key, share))
    other = listing.kept(lambda row: held_out(row.key, share))
    train.skipped, other.weights = listing.skipped, None
    if listing.rows and not (train.rows and other.rows):
        raise ValueError(
            f"held_out_share {share} leaves {len(train.rows)} training and {len(other.rows)} held-out pictures of "
            f"{len(listing.rows)}: choose another share, or name sources in held_out"
        )
    return train, other

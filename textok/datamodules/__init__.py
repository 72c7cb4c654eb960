"""Datamodules: captioned pictures as batches, in an order that can be resumed."""

from textok.datamodules.bad_data import BadData
from textok.datamodules.bank_captions import BankCaptions, Coverage
from textok.datamodules.base import ImageDataModule, Splits
from textok.datamodules.caption_bank import CaptionBank
from textok.datamodules.captions import CaptionDataModule
from textok.datamodules.crops import ADMCrop, EvalCrop, FitSquare
from textok.datamodules.dataset import CaptionedImages, Samples
from textok.datamodules.decoding import BadImage, Decoder
from textok.datamodules.emoji import EmojiDataModule
from textok.datamodules.fashion import FashionDataModule
from textok.datamodules.imagenet import FlatValidation, ImageNetDataModule
from textok.datamodules.latents import LatentsDataModule
from textok.datamodules.loader import FixedLoader, ResumableLoader
from textok.datamodules.manifests import ManifestSource, ParquetSource
from textok.datamodules.missing_captions import (
    MissingCaption,
    NoCaption,
    OwnCaptions,
    RefuseImage,
    SkipImage,
    TemplateForMissing,
)
from textok.datamodules.policies import (
    CaptionPolicy,
    ClassName,
    FirstCaption,
    FirstThatHas,
    FirstWords,
    LongestCaption,
    RandomCaption,
    Record,
    TemplateCaption,
)
from textok.datamodules.shapes import ShapesDataModule
from textok.datamodules.sources import CocoSource, FolderSource, Source
from textok.datamodules.tars import TarSource
from textok.datamodules.text_cache import TextCache
from textok.datamodules.transforms import Augmentation

__all__ = [
    "ADMCrop",
    "Augmentation",
    "BadData",
    "BadImage",
    "BankCaptions",
    "CaptionBank",
    "CaptionDataModule",
    "CaptionPolicy",
    "CaptionedImages",
    "ClassName",
    "CocoSource",
    "Coverage",
    "Decoder",
    "EmojiDataModule",
    "EvalCrop",
    "FashionDataModule",
    "FirstCaption",
    "FirstThatHas",
    "FirstWords",
    "FitSquare",
    "FixedLoader",
    "FlatValidation",
    "FolderSource",
    "ImageDataModule",
    "ImageNetDataModule",
    "LatentsDataModule",
    "LongestCaption",
    "ManifestSource",
    "MissingCaption",
    "NoCaption",
    "OwnCaptions",
    "ParquetSource",
    "RandomCaption",
    "Record",
    "RefuseImage",
    "ResumableLoader",
    "Samples",
    "ShapesDataModule",
    "SkipImage",
    "Source",
    "Splits",
    "TarSource",
    "TemplateCaption",
    "TemplateForMissing",
    "TextCache",
]

"""Datamodules: captioned pictures as batches, in an order that can be resumed."""

from textok.datamodules.bank_captions import (
    BankCaptions,
    Coverage,
    MissingCaption,
    NoCaption,
    OwnCaptions,
    RefuseImage,
    SkipImage,
    TemplateForMissing,
)
from textok.datamodules.base import ImageDataModule, Splits
from textok.datamodules.caption_bank import CaptionBank
from textok.datamodules.dataset import CaptionedImages, Samples
from textok.datamodules.emoji import EmojiDataModule
from textok.datamodules.latents import LatentsDataModule
from textok.datamodules.loader import FixedLoader, ResumableLoader
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
from textok.datamodules.text_cache import TextCache
from textok.datamodules.transforms import Augmentation

__all__ = [
    "Augmentation",
    "BankCaptions",
    "CaptionBank",
    "CaptionPolicy",
    "CaptionedImages",
    "ClassName",
    "Coverage",
    "EmojiDataModule",
    "FirstCaption",
    "FirstThatHas",
    "FirstWords",
    "FixedLoader",
    "ImageDataModule",
    "LatentsDataModule",
    "LongestCaption",
    "MissingCaption",
    "NoCaption",
    "OwnCaptions",
    "RandomCaption",
    "Record",
    "RefuseImage",
    "ResumableLoader",
    "Samples",
    "ShapesDataModule",
    "SkipImage",
    "Splits",
    "TemplateCaption",
    "TemplateForMissing",
    "TextCache",
]

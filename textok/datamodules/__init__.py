"""Datamodules: captioned pictures as batches, in an order that can be resumed."""

from textok.datamodules.base import ImageDataModule, Splits
from textok.datamodules.dataset import CaptionedImages, Samples
from textok.datamodules.emoji import EmojiDataModule
from textok.datamodules.loader import FixedLoader, ResumableLoader
from textok.datamodules.policies import CaptionPolicy, FirstCaption, RandomCaption, Record
from textok.datamodules.shapes import ShapesDataModule
from textok.datamodules.transforms import Augmentation

__all__ = [
    "Augmentation",
    "CaptionPolicy",
    "CaptionedImages",
    "EmojiDataModule",
    "FirstCaption",
    "FixedLoader",
    "ImageDataModule",
    "RandomCaption",
    "Record",
    "ResumableLoader",
    "Samples",
    "ShapesDataModule",
    "Splits",
]

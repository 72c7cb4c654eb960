"""Exact measurement: accumulators that give one number at any batch size and on any number of processes."""

from textok.metrics.accumulator import Accumulator, PairedMean
from textok.metrics.adm import adm_reference, count_adm_images, read_adm_images, read_adm_statistics, write_adm
from textok.metrics.captioned import CaptionedReconstruction
from textok.metrics.captions import other_captions
from textok.metrics.clip_score import CLIPScore
from textok.metrics.dinov2 import DINOv2Features
from textok.metrics.evaluation import DistributionMetrics
from textok.metrics.features import FeatureExtractor, Measure
from textok.metrics.inception import InceptionFeatures
from textok.metrics.lite0 import Lite0FeatureExtractor
from textok.metrics.lpips import LPIPS
from textok.metrics.psnr import PSNR
from textok.metrics.reference import Reference, ReferenceCollector, cached_reference, read_reference, write_reference
from textok.metrics.samples import SampleMetrics
from textok.metrics.source import ReferenceSource
from textok.metrics.ssim import SSIM

__all__ = [
    "LPIPS",
    "PSNR",
    "SSIM",
    "Accumulator",
    "CLIPScore",
    "CaptionedReconstruction",
    "DINOv2Features",
    "DistributionMetrics",
    "FeatureExtractor",
    "InceptionFeatures",
    "Lite0FeatureExtractor",
    "Measure",
    "PairedMean",
    "Reference",
    "ReferenceCollector",
    "ReferenceSource",
    "SampleMetrics",
    "adm_reference",
    "cached_reference",
    "count_adm_images",
    "other_captions",
    "read_adm_images",
    "read_adm_statistics",
    "read_reference",
    "write_adm",
    "write_reference",
]

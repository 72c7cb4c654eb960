"""Quality of generated samples during validation and test."""

from __future__ import annotations

from abc import abstractmethod
from functools import partial
from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor

from textok.callbacks.measurement import MeasuringCallback, announce
from textok.metrics import CLIPScore, DistributionMetrics, InceptionFeatures, ReferenceSource, SampleMetrics
from textok.metrics.samples import caption_requests, class_requests
from textok.types import Generates, Request, ServesImages, Split


class MeasuredSamples(MeasuringCallback):
    """Base: makes samples at the end of a validation and measures them.

    The random state of training is left alone, every sample depends on its request alone, and the numbers do not depend
    on the batch size or the number of processes.

    Args:
        metrics: What is measured.
        split: The images that samples are compared with.
        num_samples: How many samples; None makes all that there are requests for.
        batch_size: Samples made at once on a process.
        seed: Seed of the samples.
        every_n_steps: As in ``MeasuringCallback``.
        reference: As in ``MeasuringCallback``.
    """

    def __init__(
        self,
        metrics: SampleMetrics,
        split: Split,
        num_samples: int | None,
        batch_size: int,
        seed: int,
        every_n_steps: int | None,
        reference: ReferenceSource | None,
    ) -> None:
        for name, value in {"num_samples": num_samples, "batch_size": batch_size}.items():
            if value is not None and value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}")
        super().__init__(metrics, metrics.distances, split, every_n_steps, reference)
        self.num_samples = num_samples
        self.batch_size = batch_size
        self.seed = seed
        self._num_measured = 0

    @abstractmethod
    def requests(self, data: Any) -> list[Request]:
        """What is asked for, the same on every rank."""

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        if not isinstance(pl_module, Generates):
            raise ValueError(
                f"{type(pl_module).__name__} generates nothing: {type(self).__name__} belongs to the generator's "
                "stage; remove it from trainer.callbacks"
            )
        super().setup(trainer, pl_module, stage)

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if not self.is_due(trainer):
            self.skip(trainer)
            return
        self.find_reference(trainer)
        requests = self.requests(trainer.datamodule)

        def generate(batch: list[Request]) -> Tensor:
            with trainer.precision_plugin.forward_context():
                return pl_module.generate(batch)

        with torch.random.fork_rng([pl_module.device] if pl_module.device.type == "cuda" else []):
            self.metrics.measure(generate, requests, self.batch_size, partial(announce, self.name))
        self._num_measured = len(requests)
        self.log_metrics(trainer, pl_module)

    on_test_epoch_end = on_validation_epoch_end

    def conventions(self) -> dict[str, Any]:
        told = super().conventions()
        return told and {"num_images": self._num_measured, "seed": self.seed, **told}


class GenerationMetrics(MeasuredSamples):
    """Measures samples of all classes against the training set: ``val/gfid``, ``val/gis``, ``val/gkid``, …

    Equally many samples of every class are made, each decoded with a caption of its class.

    Args:
        distances: What is measured, and in which features; everything that Inception gives when null.
        num_samples: Samples; papers report 50,000.
        batch_size: Samples made at once on a process; no number depends on it.
        seed: Seed of the samples.
        every_n_steps: Steps between two measurements, taken at the first validation after them; null measures at each
            validation.
        reference: The real images to compare with; the training set in the model's own crop when null.
    """

    def __init__(
        self,
        distances: DistributionMetrics | None = None,
        num_samples: int = 50_000,
        batch_size: int = 64,
        seed: int = 0,
        every_n_steps: int | None = None,
        reference: ReferenceSource | None = None,
    ) -> None:
        distances = DistributionMetrics(InceptionFeatures()) if distances is None else distances
        super().__init__(
            SampleMetrics("g", distances), "train", num_samples, batch_size, seed, every_n_steps, reference
        )

    def requests(self, data: Any) -> list[Request]:
        return class_requests(self.num_samples, data.num_classes, self.seed)


class TextToImageMetrics(MeasuredSamples):
    """Measures samples of the held-out captions against the held-out images: ``val/t2i_fid``, ``val/t2i_clip_score``.

    Args:
        distances: What is measured, and in which features; everything that Inception gives when null.
        clip_score: How well a sample fits its caption; null leaves it out.
        num_samples: Captions, spread evenly over the held-out set; null takes all of them.
        batch_size: Samples made at once on a process; no number depends on it.
        seed: Seed of the samples.
        every_n_steps: Steps between two measurements, taken at the first validation after them; null measures at each
            validation.
        reference: The real images to compare with; the held-out set in the model's own crop when null.
    """

    def __init__(
        self,
        distances: DistributionMetrics | None = None,
        clip_score: CLIPScore | None = None,
        num_samples: int | None = None,
        batch_size: int = 64,
        seed: int = 0,
        every_n_steps: int | None = None,
        reference: ReferenceSource | None = None,
    ) -> None:
        distances = DistributionMetrics(InceptionFeatures()) if distances is None else distances
        metrics = SampleMetrics("t2i_", distances, clip_score)
        super().__init__(metrics, "held_out", num_samples, batch_size, seed, every_n_steps, reference)

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        super().setup(trainer, pl_module, stage)
        if stage != "predict" and not isinstance(trainer.datamodule, ServesImages):
            raise ValueError(
                f"{type(trainer.datamodule).__name__} has no held-out captions to make pictures of: remove "
                "TextToImageMetrics from trainer.callbacks, or evaluate the run with `textok evaluate` later"
            )

    def requests(self, data: Any) -> list[Request]:
        return caption_requests(data.prompts("held_out"), self.num_samples, self.seed)

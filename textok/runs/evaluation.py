"""Measure what a run trained, on all held-out images or on fresh samples, with every convention written down.

The accumulators are those of the callbacks; here they run without a Trainer, from a run folder alone.
"""

from __future__ import annotations

import copy
import hashlib
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from torch import Tensor

from textok.callbacks.captions import other_captions
from textok.callbacks.display import open_display
from textok.callbacks.results import installed_version
from textok.datamodules import ImageDataModule
from textok.metrics import PSNR, SSIM, PairedMean
from textok.metrics.evaluation import DistributionMetrics
from textok.metrics.reference import Reference, cached_reference
from textok.modules import GeneratorModule, TokenizerModule
from textok.runs.folder import RunFolder
from textok.runs.load import load_data, load_run
from textok.storage import sha256, write_json
from textok.types import Batch, Request, from_uint8


class RunEvaluation:
    """The evaluation of one run: reconstructions of stage 1, samples of stage 2.

    Args:
        run: The run folder.
        metrics: Distances of the images' distribution; its extractor is loaded at once.
        references: Folder in which the measured reference sets are kept.
        checkpoint: A checkpoint of the run; the newest by default.
        console: Where progress is shown.

    Raises:
        ValueError: If the folder holds no run.
        FileNotFoundError: If a network's weights are missing.
    """

    def __init__(
        self,
        run: str | Path,
        metrics: DistributionMetrics,
        references: str | Path,
        checkpoint: str | Path | None = None,
        console: Console | None = None,
    ) -> None:
        self.folder = RunFolder(run)
        self.folder.check_config()
        metrics.load()  # before anything that takes long: missing weights shall not be missed after an hour
        self.module = load_run(run, checkpoint=checkpoint)
        self.checkpoint = Path(checkpoint) if checkpoint is not None else self.folder.newest_checkpoint()
        self.data: ImageDataModule = load_data(run)
        self.data.setup()
        self.metrics = metrics
        self.references = Path(references)
        self.console = console or Console()

    def reconstruction(
        self, captions: Sequence[str] = ("own", "empty", "other"), pairs: Iterable[PairedMean] | None = None
    ) -> dict[str, Any]:
        """Reconstruct every held-out image and write ``evaluation/reconstruction.json``.

        The reference is the held-out images in the model's own crop (TiTok's convention for rFID).

        Args:
            captions: With which captions: each image's own, none, another image's.
            pairs: Metrics of an original and its reconstruction; PSNR and SSIM by default.

        Returns:
            What was written: metrics, warnings and conventions.
        """
        unknown = set(captions) - {"own", "empty", "other"}
        if unknown or not captions:
            raise ValueError(f"captions must be among own, empty, other; got {sorted(unknown) or 'none'}")
        loader = self.data.val_dataloader()
        reference = self._reference("held-out", self.data.splits.held_out, loader)
        pairs = list(pairs) if pairs is not None else [PSNR(), SSIM()]
        paired = {kind: copy.deepcopy(pairs) for kind in captions}
        distances = {kind: copy.deepcopy(self.metrics) for kind in captions}
        spare: list[str] = []
        for batch in self._shown("reconstructing", loader, len(loader), "batches"):
            images, rows = from_uint8(batch.image), batch.valid.tolist()
            choices: dict[str, list[str | None]] = {
                "own": list(batch.caption),
                "empty": [""] * len(rows),
                "other": other_captions(batch.caption, rows, spare),
            }
            for kind in captions:
                valid = batch.valid & torch.tensor([caption is not None for caption in choices[kind]])
                made = self.module.reconstruct(images, [caption or "" for caption in choices[kind]], batch.label)
                for metric in paired[kind]:
                    metric.update(images, made, valid=valid)
                distances[kind].update(made, batch.index, valid)
            spare = [caption for caption, is_valid in zip(batch.caption, rows) if is_valid] or spare
        numbers: dict[str, float] = {}
        warnings: list[str] = []
        for kind in captions:
            ending = "" if kind == "own" else f"_{kind}"
            for metric in paired[kind]:
                numbers |= {f"{name}{ending}": value for name, value in metric.compute().items()}
            for name, value in distances[kind].compute(reference).items():
                numbers[f"r{name}{ending}"] = value
            warnings += distances[kind].warnings
        told = {"num_images": len(self.data.splits.held_out), "captions": list(captions)}
        return self._write("reconstruction", numbers, warnings, told, reference)

    def generation(self, num_samples: int, batch_size: int = 64, seed: int = 0) -> dict[str, Any]:
        """Sample equally many pictures of every class and write ``evaluation/generation.json``.

        The reference is the training set in the model's own crop, without augmentation.

        Args:
            num_samples: How many; the i-th is of class i modulo the number of classes.
            batch_size: Samples made at once; no number depends on it.
            seed: Seed of the samples.
        """
        for name, value in {"num_samples": num_samples, "batch_size": batch_size}.items():
            if value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}")
        reference = self._reference("training", self.data.splits.train, self.data.predict_dataloader())
        classes = max(1, self.data.num_classes)
        distances = copy.deepcopy(self.metrics)
        seconds = 0.0
        starts = range(0, num_samples, batch_size)
        for start in self._shown("sampling", starts, len(starts), "batches"):
            numbers = range(start, min(start + batch_size, num_samples))
            requests = [Request(i, i % classes, None, seed) for i in numbers]
            begin = time.perf_counter()
            made = self.module.generate(requests)
            seconds += time.perf_counter() - begin
            distances.update(made, torch.tensor(list(numbers)))
        results = {f"g{name}": value for name, value in distances.compute(reference).items()}
        results["seconds_per_image"] = seconds / num_samples
        sampler = self.module.sampler
        told = {
            "num_images": num_samples,
            "labels": "equal numbers of every class",
            "sampler": type(sampler.scheduler).__name__,
            "steps": sampler.num_steps,
            "guidance": repr(sampler.guidance),
            "seed": seed,
        }
        return self._write("generation", results, distances.warnings, told, reference)

    @property
    def stage(self) -> str:
        """``reconstruction`` for a run of stage 1, ``generation`` for one of stage 2."""
        if isinstance(self.module, GeneratorModule):
            return "generation"
        assert isinstance(self.module, TokenizerModule)
        return "reconstruction"

    def _reference(self, split: str, images: Any, loader: Iterable[Batch]) -> Reference:
        """The real images of a split, from the cache or measured now."""
        keys = hashlib.sha256("\n".join(images.key(i) for i in range(len(images))).encode()).hexdigest()[:16]
        identity = {
            "dataset": type(self.data).__name__,
            "split": split,
            "preprocessing": f"largest centred square, bicubic with antialiasing to {self.data.image_size}",
            "num_images": len(images),
            "keys_sha256": keys,
        }

        def batches() -> Iterator[tuple[Tensor, Tensor, Tensor]]:
            for batch in self._shown(f"reference: the {split} images", loader, len(loader), "batches"):
                yield batch.image, batch.index, batch.valid

        reference = cached_reference(self.references, identity, self.metrics.reference_collector(), batches)
        self.metrics.check(reference)
        return reference

    def _shown(self, title: str, parts: Iterable[Any], total: int, unit: str) -> Iterator[Any]:
        """The parts, with a progress bar and the time left."""
        display = open_display(self.console, title, total, unit)
        begin = time.perf_counter()
        try:
            for done, part in enumerate(parts, 1):
                yield part
                if display.is_due(done):
                    display.update(done, (time.perf_counter() - begin) / done * (total - done), "")
        finally:
            display.stop()

    def _write(
        self, name: str, numbers: dict[str, float], warnings: list[str], told: dict[str, Any], reference: Reference
    ) -> dict[str, Any]:
        record = {
            "metrics": numbers,
            "warnings": list(dict.fromkeys(warnings)),
            "conventions": {
                **told,
                "weights": "averages (EMA)",
                "checkpoint": self.checkpoint.name,
                "checkpoint_sha256": sha256(self.checkpoint),
                "precision": "float32",
                **self.metrics.conventions(reference),
                "textok": installed_version("textok"),
            },
        }
        write_json(self.folder.path / "evaluation" / f"{name}.json", record)
        return record

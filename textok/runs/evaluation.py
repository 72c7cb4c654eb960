"""Measure what a run trained, on all held-out images or on fresh samples, with every convention written down.

The accumulators are those of the callbacks; here they run without a Trainer, from a run folder alone.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from torch import Tensor

from textok.callbacks.display import track
from textok.callbacks.results import installed_version
from textok.callbacks.throughput import synchronize
from textok.datamodules import CaptionedImages, FixedLoader, ImageDataModule
from textok.metrics import CaptionedReconstruction, DistributionMetrics, PairedMean
from textok.metrics.adm import adm_reference
from textok.metrics.reference import Reference, cached_reference
from textok.runs.folder import RunFolder
from textok.runs.load import default_device, load_data, load_run
from textok.storage import sha256, write_json
from textok.types import Request, from_uint8


class RunEvaluation:
    """The evaluation of one run: reconstructions of any run, samples of one of stage 2.

    Args:
        run: The run folder.
        distances: Distances of the images' distribution; their extractor is loaded at once.
        references: Folder in which the measured reference sets are kept.
        reference: ADM's npz file to compare with; None takes the run's own data.
        checkpoint: A checkpoint of the run; the newest by default.
        device: Where to compute; the accelerator by default, if there is one.
        console: Where progress is shown.

    Raises:
        ValueError: If the folder holds no run.
        FileNotFoundError: If a network's weights are missing.
    """

    def __init__(
        self,
        run: str | Path,
        distances: DistributionMetrics,
        references: str | Path,
        reference: str | Path | None = None,
        checkpoint: str | Path | None = None,
        device: torch.device | str | None = None,
        console: Console | None = None,
    ) -> None:
        self.device = default_device() if device is None else torch.device(device)
        self.folder = RunFolder(run)
        self.config = self.folder.config()
        distances.load(self.device)  # before anything that takes long: missing weights shall not be missed in an hour
        self.checkpoint = Path(checkpoint) if checkpoint is not None else self.folder.newest_checkpoint()
        self.module = load_run(run, checkpoint=self.checkpoint, device=self.device)
        self.data: ImageDataModule = load_data(run)
        self.data.setup()
        self.distances = distances
        self.references = Path(references)
        self.reference_file = None if reference is None else Path(reference)
        self.console = console or Console()

    def reconstruction(
        self, captions: Sequence[str] = ("own", "empty", "other"), pairs: Sequence[PairedMean] | None = None
    ) -> Path:
        """Reconstruct every held-out image and write ``evaluation/reconstruction.json``.

        The reference is the held-out images in the model's own crop (TiTok's convention for rFID).

        Args:
            captions: With which captions: each image's own, none, another image's.
            pairs: Metrics of an original and its reconstruction; PSNR and SSIM by default.

        Returns:
            The file: metrics, warnings and conventions.
        """
        metrics = CaptionedReconstruction(captions, pairs, self.distances)
        metrics.load(self.device)
        loader = self.data.val_dataloader()
        reference = self._reference("held-out", self.data.splits.held_out, loader)
        for batch in track(self.console, "reconstructing", loader, len(loader)):
            images, label = from_uint8(batch.image.to(self.device)), batch.label.to(self.device)

            def reconstruct(chosen: list[str], images: Tensor = images, label: Tensor = label) -> Tensor:
                return self.module.reconstruct(images, chosen, label)

            metrics.update(reconstruct, images, batch.caption, batch.index, batch.valid)
        numbers = metrics.compute(reference)
        conventions = {"num_images": len(self.data.splits.held_out), **metrics.conventions()}
        return self._write("reconstruction", numbers, metrics.warnings, conventions, reference)

    def generation(self, num_samples: int, batch_size: int = 64, seed: int = 0) -> Path:
        """Sample equally many pictures of every class and write ``evaluation/generation.json``.

        The reference is the training set in the model's own crop, without augmentation.

        Args:
            num_samples: How many; the i-th is of class i modulo the number of classes.
            batch_size: Samples made at once; no number depends on it.
            seed: Seed of the samples.

        Returns:
            The file: metrics, warnings and conventions.
        """
        for name, value in {"num_samples": num_samples, "batch_size": batch_size}.items():
            if value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}")
        reference = self._reference("training", self.data.splits.train, self.data.predict_dataloader())
        classes = max(1, self.data.num_classes)
        self.distances.reset()
        seconds = 0.0
        starts = range(0, num_samples, batch_size)
        for start in track(self.console, "sampling", starts, len(starts)):
            numbers = range(start, min(start + batch_size, num_samples))
            requests = [Request(i, i % classes, None, seed) for i in numbers]
            begin = time.perf_counter()
            made = self.module.generate(requests)
            synchronize(self.device)
            seconds += time.perf_counter() - begin
            self.distances.update(made, torch.tensor(list(numbers)))
        results = {f"g{name}": value for name, value in self.distances.compute(reference).items()}
        results["seconds_per_image"] = seconds / num_samples
        conventions = {
            "num_images": num_samples,
            "labels": f"sample i is of class i modulo {classes}",
            "captions": "drawn from the class's list in the checkpoint",
            "sampler": told(self.config["model"]["init_args"]["sampler"]),
            "seed": seed,
        }
        return self._write("generation", results, self.distances.warnings, conventions, reference)

    def _reference(self, split: str, images: CaptionedImages, loader: FixedLoader) -> Reference:
        """The real images to compare with: the file that was named, or a split, from the cache or measured now."""
        collector = self.distances.reference_collector()
        if self.reference_file is not None:
            reference = adm_reference(self.reference_file, collector)
        else:
            keys = "\n".join(images.key(i) for i in range(len(images)))
            identity = {
                "dataset": type(self.data).__name__,
                "split": split,
                "preprocessing": self.data.preprocessing,
                "num_images": len(images),
                "keys_sha256": hashlib.sha256(keys.encode()).hexdigest(),
            }

            def batches() -> Iterator[tuple[Tensor, Tensor, Tensor]]:
                for batch in track(self.console, f"reference: the {split} images", loader, len(loader)):
                    yield batch.image, batch.index, batch.valid

            reference = cached_reference(self.references, identity, collector, batches)
        self.distances.check(reference)
        return reference

    def _write(
        self,
        name: str,
        numbers: dict[str, float],
        warnings: list[str],
        conventions: dict[str, Any],
        reference: Reference,
    ) -> Path:
        record = {
            "metrics": numbers,
            "warnings": warnings,
            "conventions": {
                **conventions,
                "weights": "averages (EMA)",
                "checkpoint": self.checkpoint.name,
                "checkpoint_sha256": sha256(self.checkpoint),
                "precision": str(self.module.dtype).removeprefix("torch."),
                **self.distances.conventions(reference),
                "textok": installed_version("textok"),
            },
        }
        path = self.folder.path / "evaluation" / f"{name}.json"
        write_json(path, record)
        return path


def told(config: Any) -> Any:
    """A configuration as JSON can hold it: without infinities, which diffusers' schedulers have as defaults."""
    if isinstance(config, dict):
        return {key: told(value) for key, value in config.items()}
    if isinstance(config, list):
        return [told(value) for value in config]
    return str(config) if isinstance(config, float) and not math.isfinite(config) else config

"""Measure what a run trained, on all held-out images or on fresh samples, with every convention written down.

The accumulators are those of the callbacks; here they run without a Trainer, from a run folder alone.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch
from rich.console import Console
from torch import Tensor

from textok.callbacks.display import track
from textok.callbacks.throughput import synchronize
from textok.datamodules import ImageDataModule
from textok.metrics import (
    CaptionedReconstruction,
    CLIPScore,
    DistributionMetrics,
    PairedMean,
    Reference,
    ReferenceSource,
    SampleMetrics,
)
from textok.metrics.distributed import sum_over_ranks
from textok.metrics.samples import caption_requests, class_requests
from textok.runs.folder import RunFolder, compare_configs
from textok.runs.image_evaluation import image_reference
from textok.runs.load import load_data, load_run, parsed_run
from textok.runs.processes import local_device
from textok.runs.record import write_record
from textok.storage import sha256
from textok.storage.spelling import spelled
from textok.types import SPLIT_NAMES, Request, Split, from_uint8

#: Which weights a record says were measured.
WEIGHTS = {"ema": "averages (EMA)", "raw": "raw"}


class RunEvaluation:
    """The evaluation of one run: reconstructions of any run, samples of one of stage 2.

    Args:
        run: The run folder.
        distances: Distances of the images' distribution; none when None.
        clip_score: How well images fit their captions; not measured when None.
        references: Folder in which the measured reference sets are kept.
        reference: What to compare with: ADM's npz, a folder or tar of images, or the json of a reference that was kept;
            None takes the run's own data in the model's own crop.
        checkpoint: A checkpoint of the run; the newest by default.
        weights: The averages, or the raw weights.
        device: Where to compute; the accelerator by default, if there is one.
        console: Where progress is shown.
        overlays: Configurations on top of the run's own, such as another sampler: YAML files, or dictionaries.
        output: The file to write; in the run's folder ``evaluation`` by default.

    Raises:
        ValueError: If the folder holds no run, or there are overlays but no output.
        FileNotFoundError: If a network's weights are missing.
    """

    def __init__(
        self,
        run: str | Path,
        distances: DistributionMetrics | None = None,
        clip_score: CLIPScore | None = None,
        references: str | Path = "~/.cache/textok/references",
        reference: str | Path | None = None,
        checkpoint: str | Path | None = None,
        weights: Literal["ema", "raw"] = "ema",
        device: torch.device | str | None = None,
        console: Console | None = None,
        overlays: Sequence[str | dict[str, Any]] = (),
        output: str | Path | None = None,
    ) -> None:
        self.device = local_device() if device is None else torch.device(device)
        self.folder = RunFolder(run)
        self.config = self.folder.config()
        self.overlaid: list[str] = []
        if overlays:
            if output is None:
                raise ValueError("overlays change what is measured: name a file for these numbers, too (--output)")
            trained, self.config = self.config, parsed_run(run, overlays).resolved()
            self.overlaid = compare_configs(trained, self.config)
        self.output = None if output is None else Path(output)
        self.distances, self.clip_score = distances, clip_score
        # Before anything that takes long: missing weights shall not be missed in an hour.
        if distances is not None:
            distances.load(self.device)
        if clip_score is not None:
            clip_score.load()
        self.checkpoint = Path(checkpoint) if checkpoint is not None else self.folder.newest_checkpoint()
        self.weights = weights
        self.module = load_run(run, weights, self.checkpoint, self.device, overlays)
        self.data: ImageDataModule = load_data(run, overlays)
        self.data.setup()
        self.references = Path(references).expanduser()
        self.reference_file = None if reference is None else Path(reference)
        self.console = console or Console()

    def reconstruction(
        self,
        captions: Sequence[str] = ("own", "empty", "other"),
        pairs: Sequence[PairedMean] | None = None,
        split: Split = "held_out",
    ) -> Path:
        """Reconstruct every image of a split and write ``evaluation/reconstruction.json``.

        The reference is the same images in the model's own crop (TiTok's convention for rFID).

        Args:
            captions: With which captions: each image's own, none, another image's.
            pairs: Metrics of an original and its reconstruction; PSNR and SSIM by default.
            split: Which images; those of training, as evaluation sees them, go to ``reconstruction_training.json``.
                What they are better by than the held-out ones was learned by heart.

        Returns:
            The file: metrics, warnings and conventions.
        """
        metrics = CaptionedReconstruction(captions, pairs, self.distances, self.clip_score)
        metrics.load(self.device)
        loader, count = self.data.fixed_loader(split), 0
        reference = self._reference(split)
        for batch in track(self.console, "reconstructing", loader, len(loader)):
            images, label = from_uint8(batch.image.to(self.device)), batch.label.to(self.device)

            def reconstruct(chosen: list[str], images: Tensor = images, label: Tensor = label) -> Tensor:
                return self.module.reconstruct(images, chosen, label)

            valid = batch.valid.to(self.device)
            count += int(batch.valid.sum())  # not of pictures that cannot be read
            metrics.update(reconstruct, images, batch.caption, batch.index.to(self.device), valid)
        numbers = metrics.compute(reference)
        measured = {"num_images": int(sum_over_ranks(torch.tensor(count))), "split": SPLIT_NAMES[split]}
        name = "reconstruction" if split == "held_out" else f"reconstruction_{SPLIT_NAMES[split]}"
        return self._write(name, numbers, metrics.warnings, {**measured, **metrics.conventions(reference)})

    def classes(self, num_samples: int, batch_size: int = 64, seed: int = 0) -> Path:
        """Sample equally many pictures of every class and write ``evaluation/generation.json``.

        The reference is the training set in the model's own crop, without augmentation.

        Args:
            num_samples: How many; the i-th is of class i modulo the number of classes.
            batch_size: Samples made at once on a process; no number depends on it.
            seed: Seed of the samples.

        Returns:
            The file: metrics, warnings and conventions.
        """
        if num_samples < 1:
            raise ValueError(f"num_samples must be at least 1, got {num_samples}")
        requests = class_requests(num_samples, self.data.num_classes, seed)
        asked = {
            "labels": f"sample i is of class i modulo {max(1, self.data.num_classes)}",
            "captions": "drawn from the class's list in the checkpoint",
        }
        metrics = SampleMetrics("g", self.distances)
        return self._generation("generation", metrics, requests, "train", batch_size, {**asked, "seed": seed})

    def captions(self, num_samples: int | None = None, batch_size: int = 64, seed: int = 0) -> Path:
        """Sample a picture of each held-out caption and write ``evaluation/text_to_image.json``.

        The reference is the held-out images in the model's own crop.

        Args:
            num_samples: How many captions, spread evenly over the set; all by default.
            batch_size: Samples made at once on a process; no number depends on it.
            seed: Seed of the samples.

        Returns:
            The file: metrics, warnings and conventions.
        """
        requests = caption_requests(self.data.prompts("held_out"), num_samples, seed)
        asked = {"captions": "of the held-out images, spread evenly over the set", "seed": seed}
        metrics = SampleMetrics("t2i_", self.distances, self.clip_score)
        return self._generation("text_to_image", metrics, requests, "held_out", batch_size, asked)

    def _generation(
        self,
        name: str,
        metrics: SampleMetrics,
        requests: list[Request],
        split: Split,
        batch_size: int,
        asked: dict[str, Any],
    ) -> Path:
        reference = self._reference(split)
        seconds, made = 0.0, 0

        def generate(batch: list[Request]) -> Tensor:
            nonlocal seconds, made
            begin = time.perf_counter()
            images = self.module.generate(batch)
            synchronize(self.device)
            seconds, made = seconds + time.perf_counter() - begin, made + len(batch)
            return images

        metrics.measure(generate, requests, batch_size, partial(track, self.console, "sampling"))
        numbers = metrics.compute(reference)
        spent = sum_over_ranks(torch.tensor([seconds, made], dtype=torch.float64))
        numbers["seconds_per_image"] = float(spent[0] / spent[1])
        sampler = spelled(self.config["model"]["init_args"]["sampler"])
        conventions = {"num_images": len(requests), **asked, "sampler": sampler, **metrics.conventions(reference)}
        return self._write(name, numbers, metrics.warnings, conventions)

    def _reference(self, split: Split) -> Reference | None:
        """The real images to compare with: those that were named, or a split of the run's own data."""
        if self.distances is None or not self.distances.needs_reference:
            return None
        collector = self.distances.reference_collector()
        if self.reference_file is not None:
            reference = image_reference(
                self.reference_file, collector, self.data.eval_batch_size, self.references, self.console
            )
        else:
            source = ReferenceSource(folder=self.references)
            reference = source.find(collector, self.data, split, partial(track, self.console))
        self.distances.check(reference)
        return reference

    def _write(self, name: str, numbers: dict[str, float], warnings: list[str], conventions: dict[str, Any]) -> Path:
        conventions = {
            **conventions,
            "weights": WEIGHTS[self.weights],
            "checkpoint": self.checkpoint.name,
            "checkpoint_sha256": sha256(self.checkpoint),
            "precision": str(self.module.dtype).removeprefix("torch."),
        }
        if self.overlaid:
            conventions["overlays"] = self.overlaid
        path = self.output or self.folder.path / "evaluation" / f"{name}.json"
        return write_record(path, numbers, warnings, conventions)

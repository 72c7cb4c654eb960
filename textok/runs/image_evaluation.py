"""Measure images as they lie on disk: against other images, each against its original, against their captions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from torch import Tensor

from textok.callbacks.display import track
from textok.metrics import CLIPScore, DistributionMetrics, PairedMean, adm_reference, cached_reference
from textok.metrics.distributed import rank_and_world
from textok.metrics.reference import Reference, ReferenceCollector, read_reference
from textok.runs.image_captions import read_captions
from textok.runs.image_files import ImageFiles, check_paired, open_images
from textok.runs.record import write_record


class ImageEvaluation:
    """The evaluation of a set of images.

    Args:
        images: Folder, tar or npz of the images.
        reference: Folder, tar or npz of the images to compare with, or the json of a reference that was kept.
        distances: Distances between the two sets; none when None.
        pairs: Metrics of each image and its original in ``reference``, matched by name, or by order in an npz.
        clip_score: How well the images fit their captions; not measured when None.
        caption_file: The captions.
        device: Where to compute.
        batch_size: Images read at once; no number depends on it.
        references: Folder in which measured reference sets are kept.
        console: Where progress is shown.

    Raises:
        FileNotFoundError: If a file or a network's weights are missing.
        ValueError: If the two sides do not fit together, or there is nothing to measure.
    """

    def __init__(
        self,
        images: Path,
        reference: Path | None = None,
        distances: DistributionMetrics | None = None,
        pairs: Sequence[PairedMean] = (),
        clip_score: CLIPScore | None = None,
        caption_file: Path | None = None,
        device: torch.device | str = "cpu",
        batch_size: int = 64,
        references: Path = Path("~/.cache/textok/references"),
        console: Console | None = None,
    ) -> None:
        if distances is None and not pairs and clip_score is None:
            raise ValueError("there is nothing to measure: give metrics, pairs or clip_score")
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {batch_size}")
        self.device = torch.device(device)
        self.images = open_images(images)
        self.reference_path = None if reference is None else Path(reference)
        self.distances, self.pairs, self.clip_score = distances, list(pairs), clip_score
        self.batch_size, self.references = batch_size, references
        self.console = console or Console()
        self.captions: list[str] = []
        self.originals: ImageFiles | None = None
        if clip_score is not None:
            if caption_file is None:
                raise ValueError("clip_score needs the images' captions: give caption_file")
            self.captions = read_captions(caption_file, self.images.names, len(self.images))
            self.caption_file = Path(caption_file)
        if self.pairs:
            if self.reference_path is None or self.reference_path.suffix == ".json":
                raise ValueError("pairs need the originals themselves: give a folder, tar or npz as the reference")
            self.originals = open_images(self.reference_path)
            check_paired(self.images, self.originals)
        elif distances is not None and distances.needs_reference and self.reference_path is None:
            raise ValueError(
                f"{', '.join(distances.measures)}: there is nothing to compare with, give a reference, or metrics [is]"
            )
        if distances is not None:
            distances.load(self.device)
        for metric in (*self.pairs, *([clip_score] if clip_score else [])):
            metric.load()

    def measure(self, output: Path) -> Path:
        """Measure everything and write it; every rank has to call it.

        Returns:
            The file: metrics, warnings and conventions.
        """
        reference = None
        if self.distances is not None and self.distances.needs_reference:
            reference = self._reference(self.distances.reference_collector())
            self.distances.check(reference)
        for images, originals, index in self._batches():
            images = images.to(self.device)
            if self.distances is not None:
                self.distances.update(images, index)
            for metric in self.pairs:
                metric.update(originals.to(self.device), images)
            if self.clip_score is not None:
                chosen = [self.captions[i] for i in index.tolist()]
                self.clip_score.update(images, chosen, torch.tensor([bool(caption) for caption in chosen]))
        numbers: dict[str, float] = {}
        warnings: list[str] = []
        conventions: dict[str, Any] = {"num_images": len(self.images), **self.images.identity()}
        for metric in self.pairs:
            numbers |= metric.compute()
        if self.pairs:
            matched = "order" if None in (self.images.names, self.originals.names) else "name"
            conventions["pairs"] = {"matched_by": matched} | {m.name: m.conventions() for m in self.pairs}
        if self.distances is not None:
            numbers |= self.distances.compute(reference)
            warnings += self.distances.warnings
            conventions |= self.distances.conventions(reference)
        if self.clip_score is not None:
            numbers |= self.clip_score.compute()
            warnings += self.clip_score.warnings
            conventions["clip_score"] = {"caption_file": self.caption_file.name, **self.clip_score.conventions()}
        return write_record(output, numbers, warnings, conventions)

    def _batches(self) -> Iterator[tuple[Tensor, Tensor | None, Tensor]]:
        """This rank's images, their originals where pairs are measured, and their numbers."""
        rank, world = rank_and_world()
        total = -(-len(self.images) // self.batch_size)
        batches = self.images.batches(self.batch_size, rank, world)
        shown = track(self.console, "measuring", batches, -(-(total - rank) // world))
        if not self.pairs:
            yield from ((images, None, index) for images, index in shown)
            return
        originals = self.originals.batches(self.batch_size, rank, world)
        for (images, index), (others, _) in zip(shown, originals, strict=True):
            if images.shape != others.shape:
                ours, theirs = ("x".join(map(str, side.shape[2:])) for side in (images, others))
                raise ValueError(
                    f"{self.images.path} has images of {ours}, {self.reference_path} of {theirs}: "
                    "bring both to one size"
                )
            yield images, others, index

    def _reference(self, collector: ReferenceCollector) -> Reference:
        return image_reference(self.reference_path, collector, self.batch_size, self.references, self.console)


def image_reference(
    path: Path, collector: ReferenceCollector, batch_size: int, references: Path, console: Console
) -> Reference:
    """The images at a path as a reference, kept in a folder; every rank has to call it.

    Args:
        path: Folder, tar or npz of the images, or the json of a reference that was kept.
        collector: An empty one, of the extractor and the draw that are wanted.
        batch_size: Images read at once.
        references: Folder in which measured reference sets are kept.
        console: Where progress is shown.

    Raises:
        FileNotFoundError: If there is nothing at the path.
        ValueError: If what is there is damaged or no image.
    """
    if path.suffix == ".json":
        return read_reference(path)
    if path.suffix == ".npz":  # its statistics, if it has any, are of more images than it holds
        return adm_reference(path, collector, batch_size)
    images = open_images(path)
    rank, world = rank_and_world()

    def batches() -> Iterator[tuple[Tensor, Tensor, None]]:
        total = -(-(-(-len(images) // batch_size) - rank) // world)
        for pixels, index in track(console, f"reference: {path}", images.batches(batch_size, rank, world), total):
            yield pixels, index, None

    return cached_reference(Path(references).expanduser(), images.identity(), collector, batches)

"""How far a set of images is from another: all distances of one feature space, from one pass of its network.

The callbacks during training and the command after it both call this, so they cannot disagree.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

import torch
from torch import Tensor

from textok.metrics.distributed import on_first_rank
from textok.metrics.feature_set import FeatureSet, FeatureSetAccumulator
from textok.metrics.features import FeatureExtractor
from textok.metrics.frechet import frechet_distance, frechet_floor
from textok.metrics.images import UINT8_RULE
from textok.metrics.inception_score import inception_score
from textok.metrics.kernel import NUM_SUBSETS, SEED, SUBSET_SIZE, kernel_distance
from textok.metrics.precision_recall import NEIGHBOURS, precision_recall
from textok.metrics.reference import NUM_REFERENCES, Reference, ReferenceCollector


class DistributionMetrics:
    """Measures a set of images against a reference: FID, KID, IS, sFID, precision, recall, or their like.

    The same number at any batch size and on any number of ranks. Call ``load`` first, then ``update`` for every batch,
    then ``compute``.

    Args:
        extractor: The feature space; its ``measures`` are what can be asked for.
        metrics: Keys of its measures to compute; all of them when null.
        num_subsets: Subsets of the kernel distance.
        subset_size: Images in such a subset, at most.
        score_parts: Parts of the Inception score; null takes as many as have about 5,000 images (ADM).
        neighbours: k of precision and recall.
        num_references: Images of the reference that kernel distance, precision and recall see (ADM: 10,000).
        seed: Seed of the draws of subsets and references.
    """

    def __init__(
        self,
        extractor: FeatureExtractor,
        metrics: Sequence[str] | None = None,
        num_subsets: int = NUM_SUBSETS,
        subset_size: int = SUBSET_SIZE,
        score_parts: int | None = None,
        neighbours: int = NEIGHBOURS,
        num_references: int = NUM_REFERENCES,
        seed: int = SEED,
    ) -> None:
        unknown = set(metrics or ()) - extractor.measures.keys()
        if unknown:
            raise ValueError(
                f"{type(extractor).__name__} measures {', '.join(extractor.measures)}; it has no {sorted(unknown)}"
            )
        self.extractor = extractor
        self.measures = {key: m for key, m in extractor.measures.items() if metrics is None or key in metrics}
        self.num_subsets, self.subset_size = num_subsets, subset_size
        self.score_parts, self.neighbours = score_parts, neighbours
        self.num_references, self.seed = num_references, seed
        self.warnings: list[str] = []
        self._images = FeatureSetAccumulator(
            extractor,
            statistics=[m.feature for m in self.measures.values() if m.kind == "frechet"],
            rows=[m.feature for m in self.measures.values() if m.kind != "frechet"],
        )

    def load(self, device: torch.device | str | None = None) -> None:
        """Load the extractor's weights, onto a device if one is given; to be called before anything is computed.

        Raises:
            FileNotFoundError: If there are none.
        """
        self.extractor.load()
        if device is not None:
            self.extractor.to(device)

    def reset(self) -> None:
        self.warnings = []
        self._images.reset()

    def update(self, images: Tensor, index: Tensor, valid: Tensor | None = None) -> None:
        """Add a batch of images: uint8 or float in [−1, 1]; see ``FeatureSetAccumulator.update``."""
        self._images.update(images, index, valid)

    @property
    def needs_reference(self) -> bool:
        """Whether any of the metrics compares; the Inception score alone does not."""
        return any(m.kind != "score" for m in self.measures.values())

    def reference_collector(self) -> ReferenceCollector:
        """An empty accumulator for the reference of these metrics."""
        return ReferenceCollector(self.extractor, self.num_references, self.seed)

    def check(self, reference: Reference | None) -> None:
        """Raise what ``compute`` would raise about this reference, before the work starts; every rank has to call it.

        Raises:
            ValueError: If it is missing, was measured with another extractor, or lacks what a metric reads.
        """
        on_first_rank(lambda: self._check(reference))

    def compute(self, reference: Reference | None = None) -> dict[str, float]:
        """Each metric by its key, over the images of all ranks; every rank has to call it, and may go on adding.

        ``kid`` and ``is`` come with ``kid_std`` and ``is_std``. With too few images for a Fréchet distance, kernel
        distances come first, and each Fréchet distance with the one between real images, ``fid_floor``; ``warnings``
        says so.

        Args:
            reference: What to compare with; of no use to the Inception score. On the first rank it counts.
        """
        images, bright = self._images.compute(), self._images.num_without_dark()
        self.warnings = []
        results = on_first_rank(lambda: self._measure(images, reference, bright))
        self.warnings = on_first_rank(lambda: self.warnings)
        return results

    def conventions(self, reference: Reference | None = None) -> dict[str, Any]:
        """Everything that another lab has to know to get the same number from the same images."""
        kinds = {m.kind for m in self.measures.values()}
        told: dict[str, Any] = {"extractor": self.extractor.describe(), "uint8": UINT8_RULE}
        if "frechet" in kinds:
            told["frechet"] = "unbiased covariance, sums and roots in float64, no epsilon on the diagonal"
        if "kernel" in kinds:
            told["kernel"] = {
                "kernel": "(x·y / F + 1)³, unbiased",
                "subsets": self.num_subsets,
                "subset_size": self.subset_size,
                "seed": self.seed,
            }
        if "score" in kinds:
            parts = "about 5,000 images each" if self.score_parts is None else self.score_parts
            told["score"] = {"parts": parts, "order": "by index, unshuffled", "logits": "without bias"}
        if kinds & {"precision", "recall"}:
            told["precision_recall"] = {"k": self.neighbours}
        if reference is not None:
            told["reference"] = {**reference.describe(), "num_references": self.num_references}
        told["versions"] = {name: version(name) for name in ("torch", "torch-fidelity")}
        return told

    def _measure(self, images: FeatureSet, reference: Reference | None, bright: int) -> dict[str, float]:
        """On the first rank."""
        self._check(reference)
        self._check_size(images, reference)
        if bright == images.count and images.count >= 8:
            self.warnings.append("no image has a pixel below 0: floats are taken to be in [-1, 1], not in [0, 1]")
        device = self.extractor.device if self.extractor.device.type == "cuda" else torch.device("cpu")
        results: dict[str, float] = {}
        coverage: dict[str, tuple[float, float]] = {}
        for key, measure in self.measures.items():
            name, kind = measure.feature, measure.kind
            if kind == "frechet":
                results[key] = frechet_distance(images.gaussians[name], reference.features.gaussians[name])
                continue
            rows = images.rows[name].to(device)
            if kind == "score":
                results[key], results[f"{key}_std"] = inception_score(rows, self.score_parts)
                continue
            real = reference.features.rows[name].to(device)
            if kind == "kernel":
                distance = kernel_distance(rows, real, self.num_subsets, self.subset_size, self.seed)
                results[key], results[f"{key}_std"] = distance
            else:
                if name not in coverage:
                    coverage[name] = precision_recall(rows, real, self.neighbours)
                results[key] = coverage[name][kind == "recall"]
        few = [key for key, m in self.measures.items() if m.kind == "frechet" and self._is_few(key, images, reference)]
        return self._with_floors(results, few, images, reference) if few else results

    def _is_few(self, key: str, images: FeatureSet, reference: Reference) -> bool:
        counts = [images.count, reference.features.gaussians[self.measures[key].feature].count]
        return any(count is not None and count <= self.extractor.dims[self.measures[key].feature] for count in counts)

    def _with_floors(
        self, results: dict[str, float], few: list[str], images: FeatureSet, reference: Reference
    ) -> dict[str, float]:
        """The results, kernel distances first, with the distance of real images beside each that has few images."""
        first = {k: v for k, v in results.items() if self._kind(k) == "kernel"}
        ordered = first | {k: v for k, v in results.items() if k not in first and k not in few}
        for key in few:
            ordered[key] = results[key]
            measure = self.measures[key]
            text = (
                f"{key}: {images.count} images against {reference.features.gaussians[measure.feature].count} for "
                f"{self.extractor.dims[measure.feature]} features make a singular covariance, and the distance is "
                f"mostly bias{': read ' + next(iter(first)) + ' first' if first else ''}"
            )
            real = reference.features.rows.get(measure.feature)
            if real is not None and len(real) >= 4:
                floor, one, other = frechet_floor(real, images.count, self.seed)
                ordered[f"{key}_floor"] = floor
                text += f"; {one} real images against {other} other real ones score {floor:.4g}"
            self.warnings.append(text)
        return ordered

    def _kind(self, key: str) -> str | None:
        measure = self.measures.get(key.removesuffix("_std"))
        return None if measure is None else measure.kind

    def _check_size(self, images: FeatureSet, reference: Reference | None) -> None:
        if reference is None or None in (images.size, reference.features.size):
            return
        if tuple(images.size) != tuple(reference.features.size):
            ours, theirs = ("x".join(map(str, size)) for size in (images.size, reference.features.size))
            raise ValueError(f"the images are {ours}, those of {reference.name} {theirs}: bring both to one size")

    def _check(self, reference: Reference | None) -> None:
        if not self.needs_reference:
            return
        if reference is None:
            raise ValueError(f"{', '.join(self.measures)}: there is nothing to compare with, give a reference")
        reference.check_extractor(self.extractor)
        features = reference.features
        for key, measure in self.measures.items():
            if measure.kind != "score":
                held = features.gaussians if measure.kind == "frechet" else features.rows
                if measure.feature not in held:
                    raise ValueError(f"{key} needs {measure.feature!r} features, which {reference.name} does not have")

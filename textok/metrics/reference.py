"""The real images that a distance compares with: measured once, then kept under a key that names all they depend on.

A wrong reference is the commonest reason for a FID that nobody can reproduce, so it is always an explicit argument and
its identity goes into every result.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from textok.metrics.distributed import on_first_rank
from textok.metrics.feature_set import FeatureSet, FeatureSetAccumulator
from textok.metrics.features import FeatureExtractor
from textok.metrics.statistics import Gaussian
from textok.storage import atomic_path, sha256, write_json

NUM_REFERENCES = 10_000  # ADM's
FORMAT = 1


@dataclass(frozen=True)
class Reference:
    """A set of real images as distances see it.

    Args:
        features: Its features; on the first rank only, where distances are computed.
        identity: What the images are: dataset, split, preprocessing, or the file they came from.
        extractor: The extractor's description; of a published file what it says.
        draw: How the images whose rows are kept were drawn.
    """

    features: FeatureSet
    identity: dict[str, Any]
    extractor: dict[str, Any]
    draw: dict[str, int]

    @property
    def key(self) -> str:
        return reference_key(self.identity, self.extractor, self.draw)

    @property
    def name(self) -> str:
        """The identity in a few words, for messages."""
        return " ".join(str(value) for value in self.identity.values()) or "the reference"

    def describe(self) -> dict[str, Any]:
        """What a result records about it."""
        return {**self.identity, "key": self.key, "num_images": self.features.count, "draw": self.draw}

    def check_extractor(self, extractor: FeatureExtractor) -> None:
        """Raise if it was measured with another extractor.

        Raises:
            ValueError: Naming what differs.
        """
        ours = extractor.describe()
        differing = {key: (value, ours.get(key)) for key, value in self.extractor.items() if value != ours.get(key)}
        if differing:
            listed = "; ".join(f"{key}: {theirs!r}, here {own!r}" for key, (theirs, own) in differing.items())
            raise ValueError(f"{self.name} was measured with another extractor ({listed}): compute it anew")


class ReferenceCollector:
    """Accumulates the real images of a ``Reference``: all that any measure of the extractor may need.

    Args:
        extractor: The feature space.
        num_references: Images of which single features are kept.
        seed: Seed by which they are drawn.
    """

    def __init__(self, extractor: FeatureExtractor, num_references: int = NUM_REFERENCES, seed: int = 0) -> None:
        self.extractor = extractor
        self.draw = {"num_references": num_references, "seed": seed}
        by_kind = {kind: {m.feature for m in extractor.measures.values() if m.kind == kind} for kind in KINDS}
        self._images = FeatureSetAccumulator(
            extractor, by_kind["frechet"], set().union(*(by_kind[k] for k in KINDS[1:])), num_references, seed
        )

    def update(self, images: Tensor, index: Tensor, valid: Tensor | None = None) -> None:
        """Add a batch; see ``FeatureSetAccumulator.update``."""
        self._images.update(images, index, valid)

    def compute(self, identity: dict[str, Any]) -> Reference:
        """The reference over all ranks' images; every rank has to call it.

        Args:
            identity: What the images are; it must say all that changes their pixels.
        """
        return Reference(self._images.compute(), identity, self.extractor.describe(), self.draw)


KINDS = ("frechet", "kernel", "precision", "recall")


def reference_key(identity: dict[str, Any], extractor: dict[str, Any], draw: dict[str, int]) -> str:
    """A short name for everything that a reference depends on."""
    told = json.dumps([FORMAT, identity, extractor, draw], sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(told.encode()).hexdigest()[:20]


def cached_reference(
    folder: Path,
    identity: dict[str, Any],
    collector: ReferenceCollector,
    batches: Callable[[], Iterable[tuple[Tensor, Tensor, Tensor | None]]],
) -> Reference:
    """The reference from its file in ``folder``, or from the images themselves, and then into the file.

    Every rank has to call it. Without the file every rank runs over its share of the images.

    Args:
        folder: Folder of the cache.
        identity: As in ``ReferenceCollector.compute``.
        collector: An empty one, of the extractor and the draw that are wanted.
        batches: Makes this rank's batches of images, indices and validity; called only where there is no file.

    Raises:
        ValueError: If the file is damaged.
    """
    extractor = collector.extractor.describe()
    key = reference_key(identity, extractor, collector.draw)
    path = manifest_path(folder, key)
    found: list[Reference] = []

    def read() -> bool:
        if path.exists():
            found.append(read_reference(path))
        return path.exists()

    if on_first_rank(read):
        # The others compute no distance and may not even see the first rank's disk.
        return found[0] if found else Reference(FeatureSet(None, None), identity, extractor, collector.draw)
    for images, index, valid in batches():
        collector.update(images, index, valid)
    reference = collector.compute(identity)
    on_first_rank(lambda: write_reference(folder, reference))
    return reference


def manifest_path(folder: Path, key: str) -> Path:
    return Path(folder, f"{key}.json")


def write_reference(folder: Path, reference: Reference) -> Path:
    """Write a reference as safetensors and then the manifest that makes it count, whose path is returned."""
    from safetensors.torch import save_file

    features = reference.features
    tensors = {f"rows/{name}": rows.contiguous() for name, rows in features.rows.items()}
    for name, gaussian in features.gaussians.items():
        tensors |= {f"mean/{name}": gaussian.mean, f"covariance/{name}": gaussian.covariance.contiguous()}
    path = manifest_path(folder, reference.key)
    with atomic_path(path.with_suffix(".safetensors")) as temporary:
        save_file(tensors, temporary)
    manifest = {
        "format": FORMAT,
        "identity": reference.identity,
        "extractor": reference.extractor,
        "draw": reference.draw,
        "count": features.count,
        "size": features.size,
        "counts": {name: gaussian.count for name, gaussian in features.gaussians.items()},
        "sha256": sha256(path.with_suffix(".safetensors")),
    }
    write_json(path, manifest)
    return path


def read_reference(path: Path) -> Reference:
    """A reference from the path of its manifest.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the manifest or the tensors beside it are damaged.
    """
    from safetensors.torch import load_file

    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"there is no reference {path}")
    damaged = f"is damaged: delete {path}, and it is computed anew"
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
        expected, counts = manifest["sha256"], manifest["counts"]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"the reference's manifest {path} {damaged}") from error
    file = path.with_suffix(".safetensors")
    if not file.is_file() or sha256(file) != expected:
        raise ValueError(f"the reference {file} {damaged}")
    tensors = load_file(file)
    features = FeatureSet(
        manifest["count"],
        None if manifest["size"] is None else tuple(manifest["size"]),
        {n: Gaussian(tensors[f"mean/{n}"], tensors[f"covariance/{n}"], count) for n, count in counts.items()},
        {name.removeprefix("rows/"): rows for name, rows in tensors.items() if name.startswith("rows/")},
    )
    return Reference(features, manifest["identity"], manifest["extractor"], manifest["draw"])

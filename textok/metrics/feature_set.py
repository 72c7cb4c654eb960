"""What is kept of a set of images: statistics and rows of their features, from one pass of the network."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from textok.metrics.distributed import gather_rows, on_first_rank, sum_over_ranks
from textok.metrics.features import FeatureExtractor
from textok.metrics.images import checked_uint8
from textok.metrics.rows import FeatureRows
from textok.metrics.statistics import FeatureStatistics, Gaussian


@dataclass(frozen=True)
class FeatureSet:
    """The features of a set of images, as far as distances need them.

    Args:
        count: Number of images; None where a published file does not say.
        size: Height and width of the images; None where a published file does not say.
        gaussians: Mean and covariance of a feature, by its name.
        rows: A feature image by image, (n, F) float32 by ascending index, by its name; on the first rank only.
    """

    count: int | None
    size: tuple[int, int] | None
    gaussians: dict[str, Gaussian] = field(default_factory=dict)
    rows: dict[str, Tensor] = field(default_factory=dict)


class FeatureSetAccumulator:
    """Accumulates a ``FeatureSet``; the extractor sees every image once, whatever is kept.

    Args:
        extractor: The network.
        statistics: Features of which mean and covariance are wanted.
        rows: Features that are kept image by image.
        limit: Images of which rows are kept, drawn by a seed; None keeps all.
        seed: Seed of that draw.
    """

    def __init__(
        self,
        extractor: FeatureExtractor,
        statistics: Iterable[str],
        rows: Iterable[str],
        limit: int | None = None,
        seed: int = 0,
    ) -> None:
        self.extractor = extractor
        self._statistics = {name: FeatureStatistics(extractor.dims[name]) for name in sorted(set(statistics))}
        self._rows = {name: FeatureRows(extractor.dims[name], limit, seed) for name in sorted(set(rows))}
        self.reset()

    def reset(self) -> None:
        self._index: list[Tensor] = []
        self._size: tuple[int, int] | None = None
        self._bright = 0
        for part in (*self._statistics.values(), *self._rows.values()):
            part.reset()

    @torch.no_grad()
    def update(self, images: Tensor, index: Tensor, valid: Tensor | None = None) -> None:
        """Add a batch.

        Args:
            images: (B, 3, H, W) uint8, or float in [−1, 1], which is rounded to bytes.
            index: (B,) position of each image in its set; it orders them, and no image may come twice.
            valid: (B,) bool; False for images that only pad a batch or rank.

        Raises:
            ValueError: If the images or their features cannot be measured.
        """
        if index.shape != images.shape[:1] or index.is_floating_point():
            raise ValueError(
                f"index must be (B,) integers for {tuple(images.shape)} images, got {index.dtype} {tuple(index.shape)}"
            )
        if valid is not None:
            images, index = images[valid.to(images.device)], index[valid.to(index.device)]
        if len(images) == 0:
            return
        pixels = checked_uint8(images)
        size = (int(pixels.shape[-2]), int(pixels.shape[-1]))
        if self._size is not None and size != self._size:
            raise ValueError(
                f"an image of {size[0]}x{size[1]} after images of {self._size[0]}x{self._size[1]}: "
                "bring all of them to one size first, by the same crop as the other side's"
            )
        features = self.extractor(pixels)
        wanted = self._statistics.keys() | self._rows.keys()
        for name in wanted:
            if not features[name].isfinite().all():
                raise ValueError(
                    f"{self.extractor.name}'s feature {name!r} has a NaN or an infinity for one of the images "
                    f"{index.tolist()[:8]}…: its weights are damaged"
                )
        for name, part in self._statistics.items():
            part.update(features[name])
        for name, part in self._rows.items():
            part.update(features[name], index)
        self._size = size
        self._index.append(index.to("cpu", torch.int64))
        if images.is_floating_point():
            self._bright += int((images.flatten(1).amin(dim=1) >= 0).sum())

    def compute(self) -> FeatureSet:
        """The features of all ranks' images; every rank has to call it, and may go on adding.

        Raises:
            ValueError: If there is no image, one came twice, or ranks saw images of different sizes.
        """
        index = torch.cat([torch.zeros(0, dtype=torch.int64), *self._index])
        gathered = gather_rows(index)
        sizes = gather_rows(torch.tensor([self._size] if self._size else [], dtype=torch.int64).reshape(-1, 2))
        size = on_first_rank(lambda: _checked(gathered, sizes, self.extractor.name))
        return FeatureSet(
            count=int(sum_over_ranks(torch.tensor(len(index)))),
            size=size,
            gaussians={name: part.compute() for name, part in self._statistics.items()},
            rows={name: part.compute() for name, part in self._rows.items()},
        )

    def num_without_dark(self) -> int:
        """Float images on all ranks without a pixel below 0: all of them, where images are in [0, 1] by mistake."""
        return int(sum_over_ranks(torch.tensor(self._bright)))


def _checked(index: Tensor, sizes: Tensor, name: str) -> tuple[int, int]:
    """The one size of all images."""
    if len(index) == 0:
        raise ValueError(f"{name} features of no image: the data is empty or all of it is padding")
    values, counts = index.unique(return_counts=True)
    if (counts > 1).any():
        raise ValueError(
            f"image {int(values[counts > 1][0])} came {int(counts.max())} times ({int((counts > 1).sum())} images came "
            "more than once): a sampler that repeats images must mark them valid=False"
        )
    if len(sizes.unique(dim=0)) > 1:
        raise ValueError(f"images of different sizes on different ranks: {sizes.tolist()}")
    return int(sizes[0, 0]), int(sizes[0, 1])

"""What the caption carries: every metric of a reconstruction with its own caption, with none, and with another image's.

The callback during training and the command after it both call this, so they cannot disagree.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any, Literal

import torch
from torch import Tensor

from textok.metrics.accumulator import PairedMean
from textok.metrics.captions import other_captions
from textok.metrics.clip_score import CLIPScore
from textok.metrics.distributed import sum_over_ranks
from textok.metrics.evaluation import DistributionMetrics
from textok.metrics.psnr import PSNR
from textok.metrics.reference import Reference
from textok.metrics.ssim import SSIM

#: Which caption → what its metrics' names end with.
ENDINGS = {"own": "", "empty": "_empty", "other": "_other"}


class CaptionedReconstruction:
    """Measures reconstructions under each kind of caption.

    "Another image" is one half a batch away with a different caption (see ``other_captions``), so those numbers, unlike
    the others, move a little with the batch size; an image that has no other is left out of them, and they are left
    out where no image has.

    Args:
        captions: Which captions to measure: each image's own, the empty one, another image's.
        pairs: Metrics of an original and its reconstruction; PSNR and SSIM when None.
        distances: Distances of all reconstructions from the originals; none when None.
        clip_score: How well a reconstruction fits its image's own caption, whichever it was made with; images without
            a caption are left out. Not measured when None.
    """

    def __init__(
        self,
        captions: Sequence[Literal["own", "empty", "other"]] = ("own", "empty", "other"),
        pairs: Sequence[PairedMean] | None = None,
        distances: DistributionMetrics | None = None,
        clip_score: CLIPScore | None = None,
    ) -> None:
        unknown = set(captions) - ENDINGS.keys()
        if unknown or not captions:
            raise ValueError(f"captions must be among own, empty, other; got {sorted(unknown) or 'none'}")
        self.captions = tuple(captions)
        pairs = [PSNR(), SSIM()] if pairs is None else list(pairs)
        self._pairs = {kind: copy.deepcopy(pairs) for kind in self.captions}
        self._distances = {kind: copy.deepcopy(distances) for kind in self.captions if distances is not None}
        self._clip = {kind: copy.deepcopy(clip_score) for kind in self.captions if clip_score is not None}
        self._spare: list[str] = []
        self._num_others = 0  # images that have another one's caption, here

    def load(self, device: torch.device | str | None = None) -> None:
        """Load the networks of all metrics; to be called at the start, where missing weights shall be noticed.

        Raises:
            FileNotFoundError: If there are none.
        """
        for metric in (*(metric for group in self._pairs.values() for metric in group), *self._clip.values()):
            metric.load()
        for distances in self._distances.values():
            distances.load(device)

    def reset(self) -> None:
        self._spare, self._num_others = [], 0
        for metric in (*(metric for group in self._pairs.values() for metric in group), *self._clip.values()):
            metric.reset()
        for distances in self._distances.values():
            distances.reset()

    def update(
        self,
        reconstruct: Callable[[list[str]], Tensor],
        images: Tensor,
        captions: Sequence[str],
        index: Tensor,
        valid: Tensor,
        own: Tensor | None = None,
    ) -> None:
        """Add a batch; every rank makes the same passes, whether or not its images have another caption.

        Args:
            reconstruct: Captions → reconstructions (B, 3, H, W) of these images in [−1, 1].
            images: (B, 3, H, W) originals in [−1, 1].
            captions: Their own captions.
            index: (B,) position of each image in its set.
            valid: (B,) bool; False for images that only pad a batch or rank.
            own: Reconstructions with the own captions, where they are there already.
        """
        rows = valid.tolist()
        for kind in self.captions:
            chosen: list[str | None] = list(captions) if kind == "own" else [""] * len(rows)
            if kind == "other":
                chosen = other_captions(captions, rows, self._spare)
                self._num_others += sum(caption is not None and row for caption, row in zip(chosen, rows))
            scored = valid & torch.tensor([caption is not None for caption in chosen], device=valid.device)
            made = own if kind == "own" and own is not None else reconstruct([caption or "" for caption in chosen])
            for metric in self._pairs[kind]:
                metric.update(images, made, valid=scored)
            if kind in self._distances:
                self._distances[kind].update(made, index, scored)
            if kind in self._clip:
                captioned = torch.tensor([bool(caption) for caption in captions], device=valid.device)
                self._clip[kind].update(made, captions, scored & captioned)
        self._spare = [caption for caption, is_valid in zip(captions, rows) if is_valid] or self._spare

    def compute(self, reference: Reference | None = None) -> dict[str, float]:
        """Each metric by its name and the caption's ending, distances with an r before; every rank has to call it.

        Args:
            reference: The originals, for the distances.
        """
        results: dict[str, float] = {}
        for kind in self.captions:
            if kind == "other" and not sum_over_ranks(torch.tensor([float(self._num_others)])).item():
                continue  # one image alone, or captions that are all the same
            measured: dict[str, float] = {}
            for metric in self._pairs[kind]:
                measured |= metric.compute()
            if kind in self._distances:
                distances = self._distances[kind].compute(reference)
                measured |= {f"r{name}": value for name, value in distances.items()}
            if kind in self._clip:
                measured |= self._clip[kind].compute()
            results |= {f"{name}{ENDINGS[kind]}": value for name, value in measured.items()}
        return results

    @property
    def warnings(self) -> list[str]:
        """What to know about the numbers of the last ``compute``."""
        texts = [text for distances in self._distances.values() for text in distances.warnings]
        return list(dict.fromkeys([*texts, *(text for clip in self._clip.values() for text in clip.warnings)]))

    @property
    def needs_reference(self) -> bool:
        """Whether the originals have to be given to ``compute``."""
        return any(distances.needs_reference for distances in self._distances.values())

    def conventions(self, reference: Reference | None = None) -> dict[str, Any]:
        """What another lab has to know to get the same numbers from the same images."""
        first = self.captions[0]
        told: dict[str, Any] = {
            "captions": list(self.captions),
            "pairs": {metric.name: metric.conventions() for metric in self._pairs[first]},
        }
        if self._clip:
            told["clip_score"] = self._clip[first].conventions()
        return told | (self._distances[first].conventions(reference) if self._distances else {})

"""Where the real images of a comparison come from: a file that somebody named, or a split of the data."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from textok.metrics.adm import adm_reference, count_adm_images
from textok.metrics.reference import Reference, ReferenceCollector, cached_reference, read_reference
from textok.types import SPLIT_NAMES, Batch, ServesImages, Split


@dataclass(frozen=True)
class ReferenceSource:
    """The real images to compare with.

    Args:
        file: File to compare with: ADM's npz, or the json of a reference that was kept; null measures the run's own
            images, in the model's own crop, and keeps them.
        folder: Folder in which measured sets are kept.
    """

    file: Path | None = None
    folder: Path = Path("~/.cache/textok/references")

    def check(self, data: object, split: Split) -> None:
        """Raise now what ``find`` would raise after hours.

        Args:
            data: The datamodule.
            split: Which of its splits would be compared with.

        Raises:
            FileNotFoundError: If the named file is not there.
            ValueError: If it is damaged, or no file is named and the data have no images.
        """
        if self.file is None:
            if not isinstance(data, ServesImages):
                raise ValueError(
                    f"{type(data).__name__} serves no images that could be compared with: name a reference.file, ADM's "
                    f"npz or the json that an evaluation kept of the {SPLIT_NAMES[split]} images"
                )
        elif self.file.suffix == ".json":
            read_reference(self.file)
        else:
            count_adm_images(self.file)

    def find(
        self,
        collector: ReferenceCollector,
        data: object,
        split: Split,
        show: Callable[[str, Iterable[Batch], int], Iterable[Batch]] = lambda _, batches, __: batches,
    ) -> Reference:
        """The reference; every rank has to call it.

        Args:
            collector: An empty one, of the extractor and the draw that are wanted.
            data: The datamodule, for its own images.
            split: Which of its splits.
            show: Shows the progress of some batches, given a title and their number.

        Raises:
            FileNotFoundError: If the named file is not there.
            ValueError: If it is damaged or was measured with another extractor, or the data have no images.
        """
        self.check(data, split)
        if self.file is not None:
            return read_reference(self.file) if self.file.suffix == ".json" else adm_reference(self.file, collector)
        assert isinstance(data, ServesImages)

        def batches() -> Iterator[tuple[Tensor, Tensor, Tensor]]:
            loader = data.fixed_loader(split)
            for batch in show(f"reference: the {SPLIT_NAMES[split]} images", loader, len(loader)):
                yield batch.image, batch.index, batch.valid

        identity: dict[str, Any] = data.identity(split)
        return cached_reference(self.folder.expanduser(), identity, collector, batches)

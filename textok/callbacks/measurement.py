"""What the measuring callbacks share: when they are due, what they compare with, how they log and what they tell."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.utilities import rank_zero_info, rank_zero_warn

from textok.metrics import CaptionedReconstruction, DistributionMetrics, Reference, ReferenceSource, SampleMetrics
from textok.types import Split


class MeasuringCallback(Callback):
    """Base of the callbacks that measure at validations and tests, with the averaged weights.

    Networks and references are looked for at the start: what is missing shall not end a run after its first epoch.

    Args:
        metrics: What is measured.
        distances: The part of it that compares with a reference; None if there is none.
        split: The images that the reference is of.
        every_n_steps: Steps between two measurements, taken at the first validation after them; None measures at each.
        source: Where the reference comes from.
    """

    def __init__(
        self,
        metrics: CaptionedReconstruction | SampleMetrics,
        distances: DistributionMetrics | None,
        split: Split,
        every_n_steps: int | None,
        source: ReferenceSource | None,
    ) -> None:
        if every_n_steps is not None and every_n_steps < 1:
            raise ValueError(f"every_n_steps must be at least 1, or null for each validation; got {every_n_steps}")
        self.metrics = metrics
        self.distances = distances
        self.split = split
        self.every_n_steps = every_n_steps
        self.source = ReferenceSource() if source is None else source
        self._reference: Reference | None = None
        self._last_step = 0
        self._names: set[str] = set()
        self._said: set[str] = set()

    @property
    def name(self) -> str:
        """The class and its feature space, by which two of a class are told apart."""
        features = "" if self.distances is None else f"[{self.distances.extractor.name}]"
        return f"{type(self).__name__}{features}"

    @property
    def state_key(self) -> str:
        return self.name

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        if stage == "predict":
            return
        self.metrics.load(trainer.strategy.root_device)
        if self.metrics.needs_reference:
            self.source.check(trainer.datamodule, self.split)

    def is_due(self, trainer: pl.Trainer) -> bool:
        """Whether to measure now; a validation or a test that somebody asked for always does."""
        if trainer.sanity_checking:
            return False
        if trainer.state.fn != "fit" or self.every_n_steps is None:
            return True
        return trainer.global_step // self.every_n_steps > self._last_step // self.every_n_steps

    def find_reference(self, trainer: pl.Trainer) -> None:
        """Read or measure the reference on first use; every rank has to call it."""
        if self.metrics.needs_reference and self._reference is None:
            collector = self.distances.reference_collector()
            self._reference = self.source.find(collector, trainer.datamodule, self.split, announce)
            self.distances.check(self._reference)

    def log_metrics(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Log ``val/<name>``, or ``test/<name>`` in a test, and say each warning once; every rank has to call it."""
        self._last_step = trainer.global_step
        stage = "test" if trainer.testing else "val"
        for name, value in self.metrics.compute(self._reference).items():
            # The value is the same on all ranks already; sync_dist spares Lightning's warning about that.
            # The loggers get it from ResultsWriter, against the number of steps.
            pl_module.log(f"{stage}/{name}", value, sync_dist=True, logger=False)
            self._names.add(f"{stage}/{name}")
        for text in self.metrics.warnings:
            if text not in self._said:
                rank_zero_warn(text)
                self._said.add(text)

    def skip(self, trainer: pl.Trainer) -> None:
        """Take the numbers of an earlier step away where nothing is measured: they would pass for this step's."""
        for name in self._names:
            trainer.callback_metrics.pop(name, None)

    def conventions(self) -> dict[str, Any]:
        """What another lab has to know about the last numbers; nothing before the first."""
        if not self._names:
            return {}
        return {"weights": "averages (EMA)", **self.metrics.conventions(self._reference)}

    def state_dict(self) -> dict[str, Any]:
        return {"last_step": self._last_step}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._last_step = state_dict["last_step"]


def announce(title: str, parts: Iterable[Any], total: int) -> Iterable[Any]:
    """Say that something long begins; the progress bar of training stands still meanwhile."""
    rank_zero_info(f"{title}: {total} batches")
    return parts

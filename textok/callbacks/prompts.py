"""Pictures from words: what a text-to-image generator makes of held-out captions, or of prompts of one's own."""

from __future__ import annotations

from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import Callback
from torch import Tensor

from textok.callbacks.drawing import DARK, GREY, draw_grid
from textok.callbacks.pictures import publish_picture, spread_rows
from textok.types import Batch, Request, ServesCaptions, to_uint8


class PromptGrid(Callback):
    """Draws samples of some captions after each validation.

    The grid is in ``pictures/prompts_step….png`` and ``pictures/prompts.png``, one caption a column, and the captions
    in full in ``pictures/prompts.json``. The requests are the same every time, and training's random state is not
    touched.

    Args:
        prompts: Captions to generate; by default those of held-out images from all over the validation set, whose
            originals make the first row where the data have pixels (cached latents have none).
        num_prompts: Held-out captions to take; not used with ``prompts``.
        mark_seen: Write beneath each of ``prompts`` whether training has this very caption.
        per_prompt: Samples of each caption.
        label: Class that goes with ``prompts``, for a generator that reads both.
        seed: Seed of the samples' noise.
    """

    def __init__(
        self,
        prompts: list[str] | None = None,
        num_prompts: int = 8,
        mark_seen: bool = False,
        per_prompt: int = 3,
        label: int = 0,
        seed: int = 0,
    ) -> None:
        if num_prompts < 1 or per_prompt < 1:
            raise ValueError(f"num_prompts and per_prompt must be positive, got {num_prompts} and {per_prompt}")
        if prompts is not None and not prompts:
            raise ValueError("prompts is an empty list: give captions, or null to take held-out ones")
        if mark_seen and prompts is None:
            raise ValueError("mark_seen is for prompts of one's own: held-out captions are unseen by definition")
        self.prompts = prompts
        self.num_prompts = num_prompts
        self.mark_seen = mark_seen
        self.per_prompt = per_prompt
        self.label = label
        self.seed = seed
        self._held_out: list[tuple[str, int, Tensor]] = []
        self._seen: set[str] = set()

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        if not self.mark_seen:
            return
        if not isinstance(trainer.datamodule, ServesCaptions):
            raise ValueError(
                f"{type(trainer.datamodule).__name__} cannot tell which captions training has: set mark_seen of "
                "PromptGrid to false"
            )
        self._seen = trainer.datamodule.training_captions() & set(self.prompts or ())

    def on_validation_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._held_out = []

    def on_validation_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Batch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        if self.prompts is not None or dataloader_idx > 0:
            return
        valid, labels = batch.valid.tolist(), batch.label.tolist()
        for row in spread_rows(self.num_prompts, batch_idx, trainer.num_val_batches[0], len(batch)):
            if valid[row]:
                self._held_out.append((batch.caption[row], labels[row], to_uint8(batch.image[row]).cpu()))

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.sanity_checking:
            return
        if self.prompts is not None:
            asked = [(prompt, self.label) for prompt in self.prompts]
        else:
            asked = [(caption, label) for caption, label, _ in self._held_out]
            asked = asked or [("", self.label)]  # a rank that holds padding only still takes part
        requests = [
            Request(index=number, label=label, caption=caption, seed=self.seed)
            for number, (caption, label) in enumerate(asked * self.per_prompt)
        ]
        devices = [pl_module.device] if pl_module.device.type == "cuda" else []
        # On every rank, so that sharded weights can be gathered (the others would only wait); rank 0 draws.
        with torch.random.fork_rng(devices), trainer.precision_plugin.forward_context():
            pictures = to_uint8(pl_module.generate(requests)).cpu()
        if not trainer.is_global_zero:
            return
        rows = [list(row) for row in pictures.split(len(asked))]
        labels = ["sample"] * self.per_prompt
        originals = [image for *_, image in self._held_out if image.numel()]  # cached latents come without pixels
        if originals:
            rows.insert(0, originals)
            labels.insert(0, "original")
        footers = [[(caption or "(no caption)", 9, DARK)] for caption, _ in asked]
        words: list[dict[str, Any]] = [{"own": caption} for caption, _ in asked]
        if self.mark_seen:
            for footer, entry in zip(footers, words):
                entry["seen"] = entry["own"] in self._seen
                footer.append(("a training caption" if entry["seen"] else "not in training", 2, GREY))
        grid = draw_grid(
            rows, row_labels=labels, footers=footers, title=f"Samples of captions at step {trainer.global_step:,}"
        )
        publish_picture(trainer, "prompts", grid, {"captions": words})

"""Caption a dataset: every image once, line by line, by any number of processes and over any number of starts."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich.console import Console
from torch import Tensor

from textok.callbacks.display import duration, track
from textok.datamodules import BadImage, CaptionedImages, ImageDataModule
from textok.datamodules.caption_bank import BankSummary, build_bank
from textok.datamodules.caption_files import CaptionFields, read_rows
from textok.metrics.distributed import on_first_rank, rank_and_world, wait_for_ranks
from textok.models.captioner import Captioner
from textok.storage import JsonLines, require_match, require_space, write_json
from textok.storage.atomic import atomic_path

PLAN = "plan.json"
CAPTIONS = "captions.jsonl"
BANK = "captions.bank"
#: Of an English word with its space; for the estimate of a size only.
LETTERS = 6


def caption_dataset(
    folder: str | Path,
    data: ImageDataModule,
    captioner: Captioner,
    batch_size: int = 16,
    console: Console | None = None,
) -> BankSummary:
    """Caption both splits of a datamodule into ``captions.jsonl`` and a bank; started again, it goes on.

    The images are cut into fixed batches, of which a rank takes every world-th. A line is on the disk before the next
    batch begins; of a batch that a kill interrupted, the whole is captioned again and the missing lines are written.

    Args:
        folder: Where lines and bank go.
        data: The datamodule, set up.
        captioner: The model, loaded.
        batch_size: Images captioned at once.
        console: Where progress is shown.

    Raises:
        ValueError: If the folder holds captions of another dataset, model or prompt, or the disk has too little room.
    """
    console = console or Console()
    folder = Path(folder)
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, got {batch_size}")
    splits = (data.splits.train, data.splits.held_out)
    images = [(split, index) for split in splits for index in range(len(split))]
    keys = {split: data.identity(split)["keys_sha256"] for split in ("train", "held_out")}
    plan = {"keys": keys, "captioner": captioner.identity, "batch_size": batch_size}
    on_first_rank(lambda: _claim(folder, plan))
    if (folder / CAPTIONS).is_file():
        return on_first_rank(lambda: _bank(folder, console))

    rank, world = rank_and_world()
    lines = JsonLines(folder / f"captions-{rank}.jsonl")
    lines.repair()
    done = {row["key"] for path in _parts(folder) for row in JsonLines(path).read()}
    # All ranks have to have read what is done before one of them goes on writing.
    wait_for_ranks()
    batches = [images[first : first + batch_size] for first in range(0, len(images), batch_size)][rank::world]
    pending = [batch for batch in batches if not all(split.key(index) in done for split, index in batch)]
    size = _largest(images, captioner)
    console.print(
        f"{len(images):,} images, at most about {size / 1e6:,.1f} MB of captions and as much again for the bank; "
        f"{sum(map(len, pending)):,} to caption here",
        highlight=False,
        soft_wrap=True,
    )
    # The ranks' lines, the merged ones and the bank are there at once for a moment.
    on_first_rank(lambda: require_space(folder, 3 * size - sum(path.stat().st_size for path in _parts(folder))))
    begin = time.perf_counter()
    for number, batch in enumerate(track(console, "captioning", pending, len(pending))):
        rows = _captioned(captioner, batch, data)
        lines.append([row for row in rows if row["key"] not in done])
        if number == 0:
            seconds = (time.perf_counter() - begin) * len(pending)
            console.print(f"about {duration(seconds)} by the first batch", highlight=False, soft_wrap=True)

    wait_for_ranks()
    on_first_rank(lambda: _merge(folder, [split.key(index) for split, index in images]))
    return on_first_rank(lambda: _bank(folder, console))


def _largest(images: list[tuple[CaptionedImages, int]], captioner: Captioner) -> int:
    """Bytes of the lines if every caption is as long as it may be, in English words."""
    line = len('{"key": "", "caption": ""}\n') + LETTERS * captioner.max_words
    return sum(len(split.key(index)) + line for split, index in images)


def _captioned(
    captioner: Captioner, batch: list[tuple[CaptionedImages, int]], data: ImageDataModule
) -> list[dict[str, str]]:
    """A line for each image; one that cannot be read gets no caption, its reason, and a place among the bad ones."""
    rows = [{"key": split.key(index), "caption": ""} for split, index in batch]
    readable: list[dict[str, str]] = []
    images: list[Tensor] = []
    for row, (split, index) in zip(rows, batch):
        try:
            images.append(split.image(index))
            readable.append(row)
        except BadImage as error:
            row["bad"] = error.reason
            data.note_bad(split is data.splits.train, error.key, error.reason)
    for row, caption in zip(readable, captioner(images) if images else []):
        row["caption"] = caption
    return rows


def _claim(folder: Path, plan: dict[str, Any]) -> None:
    plan = json.loads(json.dumps(plan))
    path = folder / PLAN
    if path.is_file():
        found = json.loads(path.read_text(encoding="utf-8"))
        require_match(f"what {folder} was begun with", found, plan, "Give another folder, or delete this one")
    else:
        write_json(path, plan)


def _parts(folder: Path) -> Iterator[Path]:
    yield from sorted(folder.glob("captions-*.jsonl"))


def _merge(folder: Path, keys: list[str]) -> None:
    """The lines of all ranks as one file in the dataset's order."""
    rows = {row["key"]: row for path in _parts(folder) for row in JsonLines(path).read()}
    with atomic_path(folder / CAPTIONS) as temporary, open(temporary, "w", encoding="utf-8") as file:
        for key in keys:
            file.write(json.dumps(rows[key], ensure_ascii=False) + "\n")


def _bank(folder: Path, console: Console) -> BankSummary:
    """The bank of the merged lines; what the ranks wrote is no longer needed once it is there."""
    summary = build_bank(read_rows(folder / CAPTIONS, CaptionFields()), folder / BANK)
    for path in [*_parts(folder), *folder.glob(".tmp-*")]:
        path.unlink()
    console.print(
        f"{folder / BANK}: {summary.captions:,} captions, {summary.empty:,} images got none",
        highlight=False,
        soft_wrap=True,
    )
    return summary

"""Many samples into a folder, by any number of processes, again and again until all are there.

A sample's number fixes its class or caption, and with the seed its noise. Numbers are cut into fixed batches, which are
dealt out to the processes: what a batch holds depends neither on their number nor on what was there before.
"""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from rich.console import Console

from textok.callbacks.display import track
from textok.metrics.adm import write_adm
from textok.metrics.distributed import on_first_rank, rank_and_world, wait_for_ranks
from textok.pipeline import TexTokPipeline
from textok.pipeline.images import from_batch, read_picture
from textok.pipeline.requests import checked_prompts, label_of
from textok.storage import atomic_path, write_atomic, write_json
from textok.types import Request

Format = Literal["png", "npz", "tar"]


@dataclass(frozen=True)
class SamplingOptions:
    """How samples are made; a folder holds those of one choice.

    Args:
        batch_size: Samples at once.
        num_steps: Steps of the sampler; None takes the model's.
        guidance: Scale of the guidance; None takes the model's.
    """

    batch_size: int = 64
    num_steps: int | None = None
    guidance: float | None = None

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {self.batch_size}")


def requests_for(
    pipeline: TexTokPipeline, each: int, seed: int, label: str | None = None, captions: Path | None = None
) -> list[Request]:
    """The samples that are asked for: ``each`` of every class in turn, of one class, or of every caption.

    Args:
        pipeline: The model.
        each: Samples of each.
        seed: Seed of all noise.
        label: Number or name of the only class.
        captions: File of captions: one a line, or a set of captions as JSON lines, CSV or Parquet.

    Raises:
        ValueError: If the model cannot make them.
    """
    if each < 1:
        raise ValueError(f"at least one sample of each is needed, got {each}")
    sizes = pipeline.description.sizes
    if captions is not None:
        asked = [(None, text) for text in _read_captions(captions)]
        if not pipeline.networks.generator_reads_text:
            raise ValueError("this generator reads no captions, only classes: leave --captions out")
    elif label is not None:
        asked = [(label_of(label, pipeline.description.class_names, sizes.num_classes), None)]
    elif sizes.num_classes:
        asked = [(number, None) for number in range(sizes.num_classes)]
    else:
        raise ValueError("this model knows no classes: give --captions FILE")
    rows = [row for _ in range(each) for row in asked]
    return [Request(number, kind, text, seed) for number, (kind, text) in enumerate(rows)]


def write_samples(
    folder: Path,
    pipeline: TexTokPipeline,
    requests: Sequence[Request],
    options: SamplingOptions,
    kind: Format,
    console: Console,
) -> Path:
    """Make the samples that are not there yet; every process has to call it.

    Args:
        folder: Gets ``images/NNNNNN.png``, ``samples.jsonl`` with labels and captions, and a file of the kind.
        pipeline: The model.
        requests: The samples.
        options: How they are made.
        kind: ``png`` leaves it at the folder, ``npz`` adds ADM's file, ``tar`` a WebDataset shard.
        console: Where progress is shown.

    Returns:
        The folder of pictures, or the file.

    Raises:
        ValueError: If the folder holds other samples.
    """
    rank, world = rank_and_world()
    captions = pipeline.captions_of(requests)
    rows = [{"label": each.label, "caption": text} for each, text in zip(requests, captions)]
    lines = [
        json.dumps({"file_name": f"{number:06d}.png", **row}, ensure_ascii=False) for number, row in enumerate(rows)
    ]
    choices = {"weights": pipeline.weights_sha256, "seed": requests[0].seed, **asdict(options)}
    on_first_rank(lambda: _claim(folder, choices, "\n".join(lines) + "\n"))

    files = [folder / "images" / f"{number:06d}.png" for number in range(len(requests))]
    starts = range(0, len(requests), options.batch_size)[rank::world]
    batches = [range(start, min(start + options.batch_size, len(requests))) for start in starts]
    missing = [batch for batch in batches if not all(files[number].is_file() for number in batch)]
    for batch in track(console, "samples", missing, len(missing)):
        images = pipeline.sample([requests[n] for n in batch], options.num_steps, options.guidance)
        for number, picture in zip(batch, from_batch(images, "pil")):
            if not files[number].is_file():
                with atomic_path(files[number]) as temporary:
                    picture.save(temporary)
    wait_for_ranks()
    if kind == "png":
        return folder / "images"
    target = folder / f"samples.{kind}"
    on_first_rank(lambda: _pack(target, files, rows))
    return target


def _claim(folder: Path, choices: dict[str, object], lines: str) -> None:
    """Start a folder of samples, or make sure that it holds the same ones."""
    about, listed = folder / "sampling.json", folder / "samples.jsonl"
    if about.is_file():
        before = json.loads(about.read_text())
        for name, value in choices.items():
            if before.get(name) != value:
                raise ValueError(
                    f"{folder} holds samples made with {name} {before.get(name)}, not {value}: give another --output"
                )
        if listed.read_text(encoding="utf-8") != lines:
            raise ValueError(f"{folder} holds samples of other classes, captions or number: give another --output")
        return
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())) and not listed.is_file():
        raise ValueError(f"{folder} is not empty and holds no samples: give another --output")
    write_atomic(listed, lines)
    write_json(about, choices)


def _pack(target: Path, files: Sequence[Path], rows: Sequence[dict[str, object]]) -> None:
    if target.suffix == ".npz":
        write_adm(target, _pixels(files), len(files))
        return
    with atomic_path(target) as temporary, tarfile.open(temporary, "w") as archive:
        for file, row in zip(files, rows):
            parts = {"png": file.read_bytes(), "txt": str(row["caption"]).encode()}
            if row["label"] is not None:
                parts["cls"] = str(row["label"]).encode()
            for suffix, data in parts.items():
                member = tarfile.TarInfo(f"{file.stem}.{suffix}")
                member.size = len(data)
                archive.addfile(member, io.BytesIO(data))


def _pixels(files: Sequence[Path]) -> Iterator[torch.Tensor]:
    for file in files:
        yield torch.from_numpy(np.array(read_picture(file))).permute(2, 0, 1)[None]  # (1, 3, S, S)


def _read_captions(path: Path) -> list[str]:
    from textok.datamodules.caption_files import CaptionFields, read_rows

    if not path.is_file():
        raise ValueError(f"there is no file of captions {path}")
    if path.suffix == ".txt":
        return checked_prompts(path.read_text(encoding="utf-8").splitlines())
    return checked_prompts([text for row in read_rows(path, CaptionFields()) for text in row.captions[:1]])

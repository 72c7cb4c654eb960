"""Write text tokens to the disk: every caption that training can meet goes through the text encoder once."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from rich.console import Console
from safetensors.torch import save_file

from textok.callbacks.display import duration, track
from textok.datamodules import ImageDataModule
from textok.datamodules.text_cache import CAPTIONS, KIND
from textok.metrics.distributed import on_first_rank, rank_and_world, wait_for_ranks
from textok.models import TextEncoder
from textok.models.state import fingerprint
from textok.modules.class_captions import read_class_captions
from textok.storage import Manifest, ShardWriter, atomic_path, pack_index, require_space, strings_digest


@dataclass(frozen=True)
class TextCacheOptions:
    """How text tokens are stored.

    Args:
        dtype: Precision of the stored tokens. T5's overflow in float16.
        shard_size: Captions of a shard.
        batch_size: Captions that are encoded between two updates of the progress.
    """

    dtype: Literal["bfloat16", "float16"] = "bfloat16"
    shard_size: int = 16_384
    batch_size: int = 64


def possible_captions(data: ImageDataModule, class_captions: Path | None = None) -> list[str]:
    """ "" and every caption that the policy can give to an image of either split, each once, in order of appearance.

    Args:
        data: The datamodule, set up.
        class_captions: JSON file of captions that samples will be decoded with, which are put in as well.
    """
    found = {"": None}
    for split in ("train", "held_out"):
        samples = data.fixed_loader(split).samples
        for index in range(len(samples)):
            found.update(dict.fromkeys(data.caption_policy.choices(samples.record(index))))
    if class_captions is not None:
        for captions in read_class_captions(class_captions, data.num_classes):
            found.update(dict.fromkeys(captions))
    return list(found)


def encoder_identity(encoder: TextEncoder) -> dict[str, object]:
    """What text tokens depend on, the weights among it."""
    return {**encoder.identity, "weights_sha256": fingerprint(encoder.network.state_dict())}


def write_text_cache(
    folder: str | Path,
    data: ImageDataModule,
    encoder: TextEncoder,
    options: TextCacheOptions,
    class_captions: Path | None = None,
    console: Console | None = None,
) -> Manifest:
    """Encode all captions of a datamodule and write them; started again, it goes on where it was.

    Every rank calls this; each writes its own shards.

    Args:
        folder: The cache's folder.
        data: The datamodule, set up.
        encoder: The text encoder, loaded.
        options: How to store.
        class_captions: JSON file of further captions.
        console: Where progress is shown.

    Raises:
        ValueError: If the folder holds another cache, the disk has too little room, or a caption's tokens do not fit
            the precision.
    """
    console = console or Console()
    rank, world = rank_and_world()
    captions = possible_captions(data, class_captions)
    identity = {
        "captions": data.caption_identity(),
        "captions_sha256": strings_digest(captions),
        "text_encoder": encoder_identity(encoder),
        "dtype": options.dtype,
    }
    writer = ShardWriter(folder, KIND, identity, len(captions), options.shard_size, rank, world)
    if on_first_rank(lambda: writer.is_finished):
        manifest = Manifest.read(folder, KIND)
        manifest.check_files(folder, checksums=True)
        console.print(f"{folder} is finished: {manifest.count:,} captions", highlight=False, soft_wrap=True)
        return manifest

    pending = writer.pending()
    todo = sum(len(writer.entries(shard)) for shard in pending)
    length, entry_size = _entry_size(captions, encoder)
    console.print(
        f"{len(captions):,} captions of about {length:.0f} text tokens: about {len(captions) * entry_size / 1e6:,.1f} "
        f"MB; {todo:,} to encode here",
        highlight=False,
        soft_wrap=True,
    )
    on_first_rank(lambda: require_space(folder, writer.num_missing() * entry_size))
    if todo:
        seconds = _seconds(captions, encoder, todo)
        console.print(f"about {duration(seconds)} by a few captions", highlight=False, soft_wrap=True)
    parts = [(shard, first) for shard in pending for first in writer.entries(shard)[:: options.batch_size]]
    tokens: list[torch.Tensor] = []
    lengths: list[int] = []
    for shard, first in track(console, "encoding captions", parts, len(parts)):
        entries = writer.entries(shard)
        chosen = captions[first : min(first + options.batch_size, entries.stop)]
        text = encoder(chosen)
        rows = text.tokens.cpu()[text.mask.cpu()].to(getattr(torch, options.dtype))  # (T, E), without the padding
        if not rows.isfinite().all():
            raise ValueError(f"text tokens overflow in {options.dtype}: use --dtype bfloat16")
        tokens.append(rows)
        lengths += text.mask.sum(1).tolist()
        if first + len(chosen) == entries.stop:
            borders = torch.tensor([0, *lengths]).cumsum(0)
            writer.write(shard, {"tokens": torch.cat(tokens), "borders": borders})
            tokens, lengths = [], []

    def finish() -> None:
        with atomic_path(writer.folder / CAPTIONS) as temporary:
            save_file(pack_index(captions, "captions"), temporary)
        writer.finish([CAPTIONS])

    wait_for_ranks()
    on_first_rank(finish)
    manifest = Manifest.read(folder, KIND)
    size = sum(shard.size for shard in manifest.shards)
    console.print(f"{folder}: {manifest.count:,} captions, {size / 1e6:,.1f} MB", highlight=False, soft_wrap=True)
    return manifest


def _entry_size(captions: list[str], encoder: TextEncoder) -> tuple[float, float]:
    """Text tokens of a caption and their bytes, from up to 256 captions that are spread over all."""
    few = captions[1 :: max(1, len(captions) // 256)] or captions
    length = sum(min(encoder.token_ids(caption)[1], encoder.num_tokens) for caption in few) / len(few)
    return length, length * encoder.dim * 2


def _seconds(captions: list[str], encoder: TextEncoder, todo: int) -> float:
    """How long so many captions will take, from a few."""
    few = captions[1 : 1 + 256 : 8] or captions
    encoder(few[:1])  # the first call warms up
    some = few[1 : 1 + encoder.chunk_size] or few
    begin = time.perf_counter()
    encoder(some)
    return (time.perf_counter() - begin) / len(some) * todo

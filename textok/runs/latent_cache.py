"""Write latents to the disk: the whole dataset goes through the frozen pair of a run once."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from rich.console import Console
from safetensors.torch import save_file
from torch import Tensor

from textok.callbacks.display import duration, track
from textok.datamodules import ImageDataModule
from textok.datamodules.dataset import Entry
from textok.datamodules.latent_cache import CLASSES, INDEX, KIND
from textok.datamodules.transforms import names_a_side
from textok.metrics.distributed import on_first_rank, rank_and_world, wait_for_ranks
from textok.models.state import fingerprint
from textok.modules import TokenizerModule
from textok.runs.text_cache import encoder_identity
from textok.storage import Manifest, ShardWriter, atomic_path, pack, require_space, strings_digest, write_json
from textok.types import from_uint8


@dataclass(frozen=True)
class LatentCacheOptions:
    """What is encoded, and how it is stored.

    Args:
        flip: Encode the mirror images of the training set, too, except with a caption that says left or right where
            the data's augmentation keeps sides.
        captions_per_image: With how many of the captions that the policy can choose each training image is encoded.
        dtype: Precision of the stored latents.
        shard_size: Entries of a shard.
        batch_size: Entries that are encoded at once.
    """

    flip: bool = True
    captions_per_image: int = 1
    dtype: Literal["float16", "float32"] = "float16"
    shard_size: int = 16_384
    batch_size: int = 64

    def __post_init__(self) -> None:
        for name in ("captions_per_image", "shard_size", "batch_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")


class Plan:
    """All entries of a cache, listed before the first is encoded: images, each with its captions, each with its flips.

    Training images come first; held-out ones have one entry, as evaluation sees them. An image without a caption is
    encoded with "".

    Args:
        data: The datamodule, set up.
        options: What to encode.
    """

    def __init__(self, data: ImageDataModule, options: LatentCacheOptions) -> None:
        self.samples = [data.fixed_loader(split).samples for split in ("train", "held_out")]
        self.num_train = len(self.samples[0])
        self.keys: list[str] = []
        self.labels: list[int] = []
        self.image: list[int] = []
        self.caption: list[int] = []
        self.flip: list[bool] = []
        self.first = [0]
        numbers: dict[str, int] = {}
        keep_sides = data.augmentation.keep_sides
        for samples, trains in zip(self.samples, (True, False)):
            for index in range(len(samples)):
                record = samples.record(index)
                choices = list(dict.fromkeys(data.caption_policy.choices(record)))
                for caption in choices[: options.captions_per_image if trains else 1] or [""]:
                    mirrored = trains and options.flip and not (keep_sides and names_a_side(caption))
                    for flip in (False, True) if mirrored else (False,):
                        self.image.append(len(self.keys))
                        self.caption.append(numbers.setdefault(caption, len(numbers)))
                        self.flip.append(flip)
                self.keys.append(record.key)
                self.labels.append(samples.images.label(index))
                self.first.append(len(self.image))
        self.captions = list(numbers)

    def __len__(self) -> int:
        return len(self.image)

    def picture(self, entry: int) -> tuple[Tensor, str]:
        """uint8 (3, S, S) of an entry, as evaluation sees the image, mirrored or not, and why it is bad, if it is."""
        image = self.image[entry]
        split, index = (0, image) if image < self.num_train else (1, image - self.num_train)
        sample = self.samples[split][Entry(0, index)]
        return sample.image.flip(-1) if self.flip[entry] else sample.image, "".join(bad.reason for bad in sample.bad)

    def save(self, path: Path) -> None:
        """Write the index that consumers read."""
        arrays = {
            "labels": torch.tensor(self.labels),
            "caption": torch.tensor(self.caption),
            "flip": torch.tensor(self.flip),
            "first": torch.tensor(self.first),
        }
        with atomic_path(path) as temporary:
            save_file(pack(self.keys, "keys") | pack(self.captions, "captions") | arrays, temporary)


class _Pictures(torch.utils.data.Dataset):
    """The pictures of entries, for a loader with workers."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan

    def __len__(self) -> int:
        return len(self.plan)

    def __getitem__(self, entry: int) -> tuple[Tensor, str]:
        return self.plan.picture(entry)


def write_latent_cache(
    folder: str | Path,
    module: TokenizerModule,
    data: ImageDataModule,
    checkpoint: str,
    options: LatentCacheOptions,
    console: Console | None = None,
) -> Manifest:
    """Encode a dataset by a run's averaged pair and write the latents; started again, it goes on where it was.

    Every rank calls this; each writes its own shards. Text tokens come from the data's text cache, if it has one. An
    image that cannot be read keeps its place, is named in the manifest and the bad-images log, and is no consumer's.

    Args:
        folder: The cache's folder.
        module: The run's module, on its device.
        data: The datamodule, set up.
        checkpoint: Name of the checkpoint, for messages.
        options: What to encode.
        console: Where progress is shown.

    Raises:
        ValueError: If the folder holds another cache, the disk has too little room, too many images are bad, or the
            latents are not finite in the precision.
    """
    console = console or Console()
    rank, world = rank_and_world()
    plan = Plan(data, options)
    writer = ShardWriter(
        folder, KIND, _identity(plan, module, data, checkpoint, options), len(plan), options.shard_size, rank, world
    )
    if on_first_rank(lambda: writer.is_finished):
        manifest = Manifest.read(folder, KIND)
        manifest.check_files(folder, checksums=True)
        console.print(f"{folder} is finished: {manifest.count:,} entries", highlight=False, soft_wrap=True)
        return manifest

    pending = writer.pending()
    batches = [
        list(entries[first : first + options.batch_size])
        for entries in map(writer.entries, pending)
        for first in range(0, len(entries), options.batch_size)
    ]
    shape = (module.textok.num_latents, module.textok.latent_dim)
    entry_size = shape[0] * shape[1] * getattr(torch, options.dtype).itemsize
    console.print(
        f"{len(plan):,} entries of {len(plan.keys):,} images, {shape[0]} tokens of {shape[1]} channels each: "
        f"{len(plan) * entry_size / 1e6:,.1f} MB; {sum(map(len, batches)):,} to encode here",
        highlight=False,
        soft_wrap=True,
    )
    on_first_rank(lambda: require_space(folder, writer.num_missing() * entry_size))
    encoded = _encode(module, data, plan, batches)
    parts: list[Tensor] = []
    bad: dict[int, str] = {}
    begin = time.perf_counter()
    for number, (latents, reasons) in enumerate(track(console, "encoding images", encoded, len(batches))):
        entries = batches[number]
        if number == 0:
            seconds = (time.perf_counter() - begin) * len(batches)
            console.print(f"about {duration(seconds)} by the first batch", highlight=False, soft_wrap=True)
        latents = latents.to(getattr(torch, options.dtype))
        if not latents.isfinite().all():
            raise ValueError(
                f"latents of {plan.keys[plan.image[entries[0]]]!r} or one of the next {len(entries)} "
                f"entries are not finite in {options.dtype}: use --dtype float32"
            )
        parts.append(latents)
        for entry, reason in zip(entries, reasons):
            if reason:
                bad[entry] = reason
                data.note_bad(plan.image[entry] < plan.num_train, plan.keys[plan.image[entry]], reason)
        shard = entries[0] // options.shard_size
        if entries[-1] + 1 == writer.entries(shard).stop:
            whole, parts = torch.cat(parts), []
            writer.write(shard, {"latents": whole}, _note(whole, writer.entries(shard), plan, bad))
            bad = {}

    def finish() -> None:
        plan.save(writer.folder / INDEX)
        lists = zip(data.class_names, data.class_captions())
        write_json(writer.folder / CLASSES, [{"name": name, "captions": captions} for name, captions in lists])
        found = sorted({image: reason for note in writer.notes() for image, reason in note["bad"]}.items())
        named = [[image, plan.keys[image], reason] for image, reason in found]
        details = {"num_train": plan.num_train, "bad": named, **_statistics(writer.notes())}
        writer.finish([INDEX, CLASSES], details)

    wait_for_ranks()
    on_first_rank(finish)
    manifest = Manifest.read(folder, KIND)
    size = sum(shard.size for shard in manifest.shards)
    bad_images = len(manifest.details["bad"])
    lost = f", {bad_images:,} images that cannot be read left out" if bad_images else ""
    console.print(f"{folder}: {manifest.count:,} entries, {size / 1e6:,.1f} MB{lost}", highlight=False, soft_wrap=True)
    return manifest


def _identity(
    plan: Plan, module: TokenizerModule, data: ImageDataModule, checkpoint: str, options: LatentCacheOptions
) -> dict[str, Any]:
    """Everything that the latents depend on."""
    encoder = module.text_encoder if module.needs_text else None
    if encoder is None:
        told = None
    elif data.text_cache is not None:
        told = data.text_cache.encoder
    else:
        told = encoder_identity(encoder)
    return {
        "captions": data.caption_identity(),
        "captions_sha256": strings_digest(plan.captions),
        "entries_sha256": strings_digest(map(str, zip(plan.image, plan.caption, plan.flip))),
        "image_size": data.image_size,
        "num_classes": data.num_classes,
        "transform": data.preprocessing,
        "flip": options.flip,
        "captions_per_image": options.captions_per_image,
        "text_encoder": told,
        "text_from_cache": data.text_cache is not None,
        "tokenizer": {"checkpoint": checkpoint, "weights_sha256": fingerprint(module.ema.state_dict())},
        "dtype": options.dtype,
        "batch_size": options.batch_size,
    }


@torch.no_grad()
def _encode(
    module: TokenizerModule, data: ImageDataModule, plan: Plan, batches: list[list[int]]
) -> Iterator[tuple[Tensor, list[str]]]:
    """(B, K, Z) latents of each batch of entries, on the CPU, and why an image is bad, "" where it is not."""
    loader = torch.utils.data.DataLoader(_Pictures(plan), batch_sampler=batches, num_workers=data.num_workers)
    for entries, (pictures, reasons) in zip(batches, loader):
        captions = [plan.captions[plan.caption[entry]] for entry in entries]
        cached = data.text_tokens(captions)
        text = module.encode_captions(captions) if cached is None or not module.needs_text else cached
        label = torch.tensor([plan.labels[plan.image[entry]] for entry in entries], device=module.device)
        images = from_uint8(pictures.to(module.device), module.dtype)
        yield module.ema.encode(images, None if text is None else text.to(module.device), label).cpu(), reasons


def _note(latents: Tensor, entries: range, plan: Plan, bad: dict[int, str]) -> dict[str, Any]:
    """What the manifest will tell of a shard.

    Number of tokens of the training entries, the sums of their channels and squares, and images that cannot be read.
    """
    counts = torch.tensor([plan.image[entry] < plan.num_train and entry not in bad for entry in entries])
    x = latents[counts].flatten(0, 1).double()
    named = [[plan.image[entry], reason] for entry, reason in bad.items()]
    return {"count": len(x), "sum": x.sum(0).tolist(), "squares": x.square().sum(0).tolist(), "bad": named}


def _statistics(notes: Iterator[dict[str, Any]]) -> dict[str, list[float]]:
    """Mean and deviation of each channel over the training entries, in the shards' order whoever wrote them."""
    rows = [torch.tensor([[note["count"]] * len(note["sum"]), note["sum"], note["squares"]]).double() for note in notes]
    count, total, squares = torch.stack(rows).sum(0)
    mean = total / count
    std = (squares / count - mean.square()).clamp(min=0).sqrt()
    return {"mean": mean.tolist(), "std": std.tolist()}

"""Images a second of the loaders, as ratios in one run: python benchmarks/loading.py

Three comparisons on pictures that the script makes of a photograph with noise: the training loader against
torchvision's ImageFolder with PIL and ADM's crop at 500 x 375 and at 2000 x 1500, and WebDataset tars against the same
pictures as single files. Both loaders of a comparison run in turns on one
core, a batch each.
"""

from __future__ import annotations

import argparse
import io
import tarfile
import tempfile
import time
from collections.abc import Iterable
from itertools import chain, repeat
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from skimage.data import astronaut
from torch.utils.data import DataLoader
from torchvision.datasets import ImageFolder

from textok.datamodules import CaptionDataModule, FolderSource, NoCaption, TarSource
from textok.datamodules.crops import adm_crop
from textok.datamodules.loader import ResumableLoader
from textok.datamodules.sources import Source

SIZE, BATCH = 256, 16


def adm(image: Image.Image) -> torch.Tensor:
    """ImageFolder's transform, as short a way as PIL allows."""
    return torch.from_numpy(adm_crop(image, SIZE)).permute(2, 0, 1).contiguous()


def fill(folder: Path, count: int, size: tuple[int, int]) -> None:
    """Write JPEGs of a photograph, each with noise of its own."""
    photo = np.asarray(Image.fromarray(astronaut()).resize(size)).astype(np.float32)
    (folder / "class").mkdir(parents=True)
    for number in range(count):
        noise = np.random.default_rng(number).normal(0, 4, photo.shape)
        picture = Image.fromarray(np.clip(photo + noise, 0, 255).astype(np.uint8))
        picture.save(folder / "class" / f"{number:05d}.jpg", quality=90)


def pack(folder: Path, path: Path) -> None:
    """The pictures as one tar."""
    with tarfile.open(path, "w") as tar:
        for file in sorted(folder.rglob("*.jpg")):
            data = file.read_bytes()
            member = tarfile.TarInfo(file.name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))


def speeds(loaders: list[Iterable], rounds: int) -> list[float]:
    """Images a second of each loader; batches are drawn in turn, so what else the machine does slows all alike."""
    streams = [chain.from_iterable(repeat(loader)) for loader in loaders]
    for stream in streams:
        next(stream)  # the first one warms up
    spent = [0.0] * len(loaders)
    for _ in range(rounds):
        for number, stream in enumerate(streams):
            begin = time.perf_counter()
            next(stream)
            spent[number] += time.perf_counter() - begin
    return [rounds * BATCH / seconds for seconds in spent]


def ours(source: Source) -> ResumableLoader:
    """textok's training loader."""
    data = CaptionDataModule([source], SIZE, held_out=[source], missing=NoCaption(), batch_size=BATCH, num_workers=0)
    data.setup()
    return data.train_dataloader()


def main(count: int, rounds: int) -> None:
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        for width, height in ((500, 375), (2000, 1500)):
            folder = Path(name) / f"{width}x{height}"
            fill(folder, count, (width, height))
            plain = DataLoader(ImageFolder(folder, adm), BATCH, shuffle=True, drop_last=True)
            there, here = speeds([plain, ours(FolderSource(folder))], rounds)
            print(f"{width} x {height}: ImageFolder {there:.0f}, textok {here:.0f} images/s, ratio {here / there:.2f}")
        folder = Path(name) / "500x375"
        pack(folder, Path(name) / "set.tar")
        sources = (FolderSource(folder), TarSource(str(Path(name) / "set.tar")))
        files, tars = speeds([ours(source) for source in sources], rounds)
        print(f"500 x 375: files {files:.0f}, tar {tars:.0f} images/s, ratio {tars / files:.2f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=320, help="pictures of each size")
    parser.add_argument("--rounds", type=int, default=40, help="batches of each loader")
    args = parser.parse_args()
    main(args.count, args.rounds)

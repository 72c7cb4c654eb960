"""Images a second of the loaders, as ratios in one run: python benchmarks/loading.py

Three comparisons on pictures that the script makes of a photograph with noise: the training loader against
torchvision's ImageFolder with PIL and ADM's crop at 500 x 375 and at 2000 x 1500, and WebDataset tars against the same
pictures as single files.
"""

from __future__ import annotations

import argparse
import io
import tarfile
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from skimage.data import astronaut
from torch.utils.data import DataLoader
from torchvision.datasets import ImageFolder

from textok.datamodules import ADMCrop, CaptionDataModule, FolderSource, NoCaption, TarSource

SIZE = 256


def adm(image: Image.Image) -> torch.Tensor:
    """ImageFolder's transform."""
    return ADMCrop()(torch.from_numpy(np.array(image)).permute(2, 0, 1), SIZE)


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


def speed(loader, count: int) -> float:
    """Images a second, without the start of the workers."""
    batches = iter(loader)
    first = len(next(batches)[0]) if isinstance(loader, DataLoader) else loader.batch_size
    begin, seen = time.perf_counter(), 0
    for _ in batches:
        seen += first
        if seen + first >= count:
            break
    return seen / (time.perf_counter() - begin)


def ours(source, workers: int):
    data = CaptionDataModule([source], SIZE, held_out=[source], missing=NoCaption(), batch_size=16, num_workers=workers)
    data.setup()
    return data.train_dataloader()


def main(count: int, workers: int) -> None:
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        for width, height in ((500, 375), (2000, 1500)):
            folder = Path(name) / f"{width}x{height}"
            fill(folder, count, (width, height))
            plain = DataLoader(ImageFolder(folder, adm), 16, shuffle=True, num_workers=workers, drop_last=True)
            there, here = speed(plain, count), speed(ours(FolderSource(folder), workers), count)
            print(f"{width} x {height}: ImageFolder {there:.0f}, textok {here:.0f} images/s, ratio {here / there:.2f}")
        folder = Path(name) / "500x375"
        pack(folder, Path(name) / "set.tar")
        files = speed(ours(FolderSource(folder), workers), count)
        tars = speed(ours(TarSource(str(Path(name) / "set.tar")), workers), count)
        print(f"500 x 375: files {files:.0f}, tar {tars:.0f} images/s, ratio {tars / files:.2f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=320, help="pictures of each size")
    parser.add_argument("--workers", type=int, default=0, help="worker processes; 0 compares what one core does")
    args = parser.parse_args()
    main(args.count, args.workers)

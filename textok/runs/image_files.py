"""Images as they lie on disk, in one order: a folder, a tar, or ADM's npz."""

from __future__ import annotations

import hashlib
import io
import tarfile
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from textok.datamodules.sources import SUFFIXES, list_files
from textok.datamodules.tars import check_end
from textok.metrics.adm import count_adm_images, read_adm_images
from textok.storage import sha256


class ImageFiles(ABC):
    """Images of one size, numbered from zero in the order of their names.

    Args:
        path: Where they are.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @abstractmethod
    def __len__(self) -> int: ...

    @property
    @abstractmethod
    def names(self) -> list[str] | None:
        """The images' names without their endings; None where only their order tells them apart."""

    @abstractmethod
    def batches(self, batch_size: int, rank: int = 0, world: int = 1) -> Iterator[tuple[Tensor, Tensor]]:
        """Uint8 images (B, 3, H, W) and their numbers (B,), of which a rank of several gets every ``world``-th batch.

        Raises:
            ValueError: If an image cannot be read or has another size than those before it.
        """

    @abstractmethod
    def identity(self) -> dict[str, Any]:
        """What the images are, whatever their folder is called."""


class EncodedImages(ImageFiles):
    """Base of images that are encoded one by one."""

    @abstractmethod
    def read(self, index: int) -> bytes:
        """The file of an image."""

    @abstractmethod
    def file_name(self, index: int) -> str:
        """What the file of an image is called."""

    def __len__(self) -> int:
        return len(self.names)

    def batches(self, batch_size: int, rank: int = 0, world: int = 1) -> Iterator[tuple[Tensor, Tensor]]:
        size: tuple[int, ...] | None = None
        for start in range(rank * batch_size, len(self), world * batch_size):
            rows = range(start, min(start + batch_size, len(self)))
            images = []
            for row in rows:
                images.append(decode(self.read(row), f"{self.path}: {self.file_name(row)}"))
                shape = tuple(images[-1].shape[1:])
                size = size or shape
                if shape != size:
                    raise ValueError(
                        f"{self.path}: {self.file_name(row)} is {shape[0]}x{shape[1]}, images before it are {size[0]}x"
                        f"{size[1]}: bring all of them to one size first, by the same crop as the other side's"
                    )
            yield torch.stack(images), torch.tensor(rows)

    def identity(self) -> dict[str, Any]:
        digest = hashlib.sha256()
        for index in range(len(self)):
            digest.update(f"{self.names[index]}\n".encode() + hashlib.sha256(self.read(index)).digest())
        return {"images": self.path.name, "sha256": digest.hexdigest()}


class FolderImages(EncodedImages):
    """All images in a folder and the folders in it."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        files = (file for file in list_files(path) if Path(file).suffix.lower() in SUFFIXES)
        named = sorted((Path(file).with_suffix("").as_posix(), file) for file in files)
        self._files = [file for _, file in named]
        self._names = unique([name for name, _ in named], path)

    @property
    def names(self) -> list[str]:
        return self._names

    def read(self, index: int) -> bytes:
        return (self.path / self._files[index]).read_bytes()

    def file_name(self, index: int) -> str:
        return self._files[index]


class TarImages(EncodedImages):
    """All images in a tar, which is read where it lies."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        try:
            with tarfile.open(path, "r:") as archive:
                members = [member for member in archive if Path(member.name).suffix.lower() in SUFFIXES]
                check_end(archive, path)
        except (tarfile.TarError, EOFError) as error:
            raise ValueError(f"{path} is not an uncompressed tar or is damaged ({error})") from error
        named = sorted((Path(m.name).with_suffix("").as_posix(), m.name, m.offset_data, m.size) for m in members)
        self._members = [member for _, *member in named]
        self._names = unique([name for name, *_ in named], path)

    @property
    def names(self) -> list[str]:
        return self._names

    def read(self, index: int) -> bytes:
        _, offset, size = self._members[index]
        with self.path.open("rb") as file:
            file.seek(offset)
            return file.read(size)

    def file_name(self, index: int) -> str:
        return self._members[index][0]


class AdmImages(ImageFiles):
    """The images in ADM's npz."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._count = count_adm_images(path)

    def __len__(self) -> int:
        return self._count

    @property
    def names(self) -> None:
        return None

    def batches(self, batch_size: int, rank: int = 0, world: int = 1) -> Iterator[tuple[Tensor, Tensor]]:
        for number, images in enumerate(read_adm_images(self.path, batch_size)):
            if number % world == rank:
                yield images, torch.arange(number * batch_size, number * batch_size + len(images))

    def identity(self) -> dict[str, Any]:
        return {"images": self.path.name, "sha256": sha256(self.path)}


def open_images(path: Path) -> ImageFiles:
    """The images at a path.

    Raises:
        FileNotFoundError: If there is nothing.
        ValueError: If it is no folder, tar or npz, is damaged, or holds no image.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"there is no {path}")
    if path.is_dir():
        found: ImageFiles = FolderImages(path)
    elif path.suffix == ".npz":
        found = AdmImages(path)
    elif path.suffix == ".tar":
        found = TarImages(path)
    else:
        raise ValueError(f"{path} is neither a folder of images nor a .tar nor ADM's .npz")
    if len(found) == 0:
        raise ValueError(f"{path} holds no image ({', '.join(sorted(SUFFIXES))})")
    return found


def check_paired(images: ImageFiles, originals: ImageFiles) -> None:
    """Check that the n-th image of one side belongs to the n-th of the other.

    Raises:
        ValueError: If names or numbers differ; the first that has no counterpart is named.
    """
    if images.names is not None and originals.names is not None and images.names != originals.names:
        for one, other in ((images, originals), (originals, images)):
            alone = sorted(set(one.names) - set(other.names))
            if alone:
                more = f" (and {len(alone) - 1} more)" if len(alone) > 1 else ""
                raise ValueError(f"{one.path}: {alone[0]}{more} has no counterpart in {other.path}")
    if len(images) != len(originals):
        raise ValueError(
            f"{images.path} holds {len(images)} images, {originals.path} {len(originals)}: pairs need equally many"
        )


def decode(data: bytes, name: str) -> Tensor:
    """An encoded image as uint8 (3, H, W), converted to RGB as torch-fidelity does.

    Raises:
        ValueError: If it cannot be read, or has more than 8 bits a channel, which that conversion would clip.
    """
    try:
        with Image.open(io.BytesIO(data)) as file:
            mode = file.mode
            pixels = np.array(file.convert("RGB"))
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise ValueError(f"{name} cannot be read as an image ({error})") from error
    if mode.startswith(("I", "F")):
        raise ValueError(f"{name} has more than 8 bits a channel (mode {mode}): convert it to 8 first")
    return torch.from_numpy(pixels).permute(2, 0, 1)  # (3, H, W)


def unique(names: Sequence[str], path: Path) -> list[str]:
    """The sorted names, if no two images have the same.

    Raises:
        ValueError: Otherwise.
    """
    for one, other in pairwise(names):
        if one == other:
            raise ValueError(f"{path}: two images are called {one}, whatever their endings are")
    return list(names)

"""ADM's npz files: reference batches to compare with, and samples for evaluators that read them.

A reference batch (``VIRTUAL_imagenet256_labeled.npz``) holds ``mu``, ``sigma``, ``mu_s``, ``sigma_s`` and, as a file of
samples does, the images as ``arr_0``, uint8 (N, H, W, 3). Images are streamed: 50,000 of 256² are 9.8 GB.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from textok.metrics.distributed import rank_and_world
from textok.metrics.feature_set import FeatureSet
from textok.metrics.reference import Reference, ReferenceCollector
from textok.metrics.statistics import Gaussian
from textok.storage import atomic_path, sha256

# The keys of ADM's statistics, by the feature of our Inception.
STATISTICS = {"2048": ("mu", "sigma"), "spatial": ("mu_s", "sigma_s")}


def read_adm_statistics(path: Path) -> dict[str, Gaussian]:
    """The statistics in the file, by our names of the features; none if it holds images only.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is damaged or statistics are incomplete.
    """
    with _opened(path) as archive:
        held = set(archive.namelist())
        gaussians = {}
        for feature, (mean, covariance) in STATISTICS.items():
            if f"{mean}.npy" not in held:
                continue
            if f"{covariance}.npy" not in held:
                raise ValueError(f"{path} holds {mean} without {covariance}")
            arrays = [_array(archive, key, path) for key in (mean, covariance)]
            if arrays[0].ndim != 1 or arrays[1].shape != (len(arrays[0]),) * 2:
                raise ValueError(f"{path}: {mean} {arrays[0].shape} and {covariance} {arrays[1].shape} do not fit")
            gaussians[feature] = Gaussian(*(torch.from_numpy(a.astype(np.float64)) for a in arrays), count=None)
    return gaussians


def read_adm_images(path: Path, batch_size: int = 64) -> Iterator[Tensor]:
    """The images ``arr_0`` of the file in batches of uint8 (B, 3, H, W), without loading the whole.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is damaged or holds no images.
    """
    with _opened(path) as archive, _member(archive, "arr_0", path) as file:
        count, height, width, _ = _image_shape(file, path)
        for start in range(0, count, batch_size):
            rows = min(batch_size, count - start)
            data = _read(file, rows * height * width * 3, path)
            images = torch.frombuffer(bytearray(data), dtype=torch.uint8).view(rows, height, width, 3)
            yield images.permute(0, 3, 1, 2)  # (B, 3, H, W)


def count_adm_images(path: Path) -> int:
    """The number of images in the file; errors are those of ``read_adm_images``."""
    with _opened(path) as archive, _member(archive, "arr_0", path) as file:
        return _image_shape(file, path)[0]


def write_adm(path: Path, batches: Iterable[Tensor], count: int) -> None:
    """Write samples as ADM's evaluator reads them: uint8 (N, H, W, 3) under ``arr_0``.

    Args:
        path: The file; it is complete or not there.
        batches: Uint8 images (B, 3, H, W), in the order of the samples.
        count: Number of all images.

    Raises:
        ValueError: If the images are not uint8, differ in size, or are not ``count``.
    """
    written, size = 0, None
    with (
        atomic_path(path) as temporary,
        zipfile.ZipFile(temporary, "w") as archive,
        archive.open("arr_0.npy", "w", force_zip64=True) as file,
    ):
        for images in batches:
            if images.dtype != torch.uint8 or images.dim() != 4 or images.shape[1] != 3:
                raise ValueError(f"samples must be uint8 (B, 3, H, W), got {images.dtype} {tuple(images.shape)}")
            if size is None:
                size = tuple(images.shape[2:])
                header = {"descr": "|u1", "fortran_order": False, "shape": (count, *size, 3)}
                np.lib.format.write_array_header_1_0(file, header)
            if tuple(images.shape[2:]) != size:
                raise ValueError(f"a sample of {tuple(images.shape[2:])} after samples of {size}")
            file.write(images.permute(0, 2, 3, 1).contiguous().cpu().numpy().tobytes())
            written += len(images)
        if written != count:
            raise ValueError(f"{written} samples where {count} were announced: {path} is not written")


def adm_reference(path: Path, collector: ReferenceCollector, batch_size: int = 64) -> Reference:
    """A published file as a reference: Inception's statistics from the file, single features from its images.

    Every rank has to call it, with a share of the images for each.

    Args:
        path: The npz file.
        collector: An empty one, of the extractor and the draw that are wanted.
        batch_size: Images a forward.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is damaged.
    """
    rank, world = rank_and_world()
    index = 0
    for images in read_adm_images(path, batch_size):
        rows = torch.arange(index, index + len(images))
        index += len(images)
        collector.update(images, rows, rows % world == rank)
    identity = {"file": Path(path).name, "sha256": sha256(path)}
    reference = collector.compute(identity)
    if collector.extractor.name != "inception":
        return reference
    # ADM's statistics are of more images than it ships, and are those that papers compare with.
    published = read_adm_statistics(path)
    features = reference.features
    features = FeatureSet(features.count, features.size, {**features.gaussians, **published}, features.rows)
    identity["statistics"] = f"the file's {', '.join(sorted(published))}" if published else "of its images"
    return Reference(features, identity, reference.extractor, reference.draw)


def _opened(path: Path) -> zipfile.ZipFile:
    if not Path(path).is_file():
        raise FileNotFoundError(f"there is no file {path}")
    try:
        return zipfile.ZipFile(path)
    except zipfile.BadZipFile as error:
        raise ValueError(f"{path} is not an npz file or is damaged ({error})") from error


def _member(archive: zipfile.ZipFile, key: str, path: Path) -> zipfile.ZipExtFile:
    try:
        return archive.open(f"{key}.npy")
    except KeyError as error:
        raise ValueError(f"{path} holds no {key}, only {', '.join(archive.namelist()) or 'nothing'}") from error
    except (zipfile.BadZipFile, NotImplementedError) as error:
        raise ValueError(f"{path} is damaged at {key} ({error})") from error


def _array(archive: zipfile.ZipFile, key: str, path: Path) -> np.ndarray:
    with _member(archive, key, path) as file:
        try:
            return np.lib.format.read_array(file, allow_pickle=False)
        except (ValueError, EOFError, zipfile.BadZipFile) as error:
            raise ValueError(f"{path} is damaged at {key} ({error})") from error


def _image_shape(file: zipfile.ZipExtFile, path: Path) -> tuple[int, int, int, int]:
    try:
        major = np.lib.format.read_magic(file)[0]
        reader = np.lib.format.read_array_header_1_0 if major == 1 else np.lib.format.read_array_header_2_0
        shape, is_fortran, dtype = reader(file)
    except (ValueError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path} is damaged at arr_0 ({error})") from error
    if dtype != np.uint8 or len(shape) != 4 or shape[3] != 3 or is_fortran or 0 in shape:
        raise ValueError(f"{path}: arr_0 must be uint8 (N, H, W, 3) images, it is {dtype} {shape}")
    return shape


def _read(file: zipfile.ZipExtFile, size: int, path: Path) -> bytes:
    try:
        data = file.read(size)
    except (EOFError, zipfile.BadZipFile, OSError) as error:
        raise ValueError(f"{path} is damaged: its images break off or were changed ({error})") from error
    if len(data) != size:
        raise ValueError(f"{path} is damaged: its images break off")
    return data

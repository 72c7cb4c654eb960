"""Fashion-MNIST: 70,000 real pictures in 30 MB, where the number of pictures matters."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from textok.datamodules.bank_captions import BankCaptions
from textok.datamodules.base import ImageDataModule, Splits
from textok.datamodules.dataset import CaptionedImages
from textok.datamodules.fashion_captions import class_caption, described, detailed
from textok.datamodules.policies import CaptionPolicy
from textok.datamodules.transforms import Augmentation

#: The ten classes as the dataset's authors name them (Xiao et al. 2017, table 2), in words of a caption.
CLASSES = [
    "t-shirt",
    "pair of trousers",
    "pullover",
    "dress",
    "coat",
    "sandal",
    "shirt",
    "sneaker",
    "bag",
    "ankle boot",
]
PADDED_SIZE = 32


class FashionDataModule(ImageDataModule):
    """Fashion-MNIST: 60,000 grey pictures of clothes to train on, the 10,000 of the test set held out.

    The pictures of 28 × 28 pixels get a black border of two, as a power of two is cut into patches more easily. Each
    has two captions: "a photo of a" with the class, and one that also says tone, surface and extent
    (``fashion_captions``), which ``LongestCaption`` takes.

    Args:
        root: Folder with the four idx.gz files as they are distributed; Debian's package dataset-fashion-mnist puts
            them where the default looks.
        image_size: Height and width of the samples in pixels.
        num_val: Pictures of the test set that are held out, the first ones; None takes all 10,000.
        details: Let the second caption go on and say extent and tone of the thirds, downwards and to the right.
        num_classes: The ten classes.
        batch_size: Images of a training batch on one process.
        eval_batch_size: Images of an evaluation batch on one process; None takes ``batch_size``.
        num_workers: Worker processes of each loader; the pictures are in memory, so 0 does well.
        seed: Seed of order, augmentation and caption choice.
        augmentation: How training varies the pictures.
        caption_policy: Which caption an image gets; None takes the first.
        caption_bank: Captions from a bank instead of the dataset's own.
        text_cache: Folder that textok cache text wrote: batches bring text tokens and no encoder is loaded.
    """

    def __init__(
        self,
        root: Path = Path("/usr/share/datasets/fashion-mnist"),
        image_size: int = PADDED_SIZE,
        num_val: int | None = None,
        details: bool = False,
        num_classes: int = 10,
        batch_size: int = 64,
        eval_batch_size: int | None = None,
        num_workers: int = 0,
        seed: int = 0,
        augmentation: Augmentation = Augmentation(min_crop=1.0),  # noqa: B008 - frozen
        caption_policy: CaptionPolicy | None = None,
        caption_bank: BankCaptions | None = None,
        text_cache: Path | None = None,
    ) -> None:
        super().__init__(
            image_size,
            num_classes,
            batch_size,
            eval_batch_size,
            num_workers,
            seed,
            augmentation,
            caption_policy,
            caption_bank,
            text_cache,
        )
        if num_val is not None and num_val < 1:
            raise ValueError(f"num_val must be at least 1 or null, got {num_val}")
        self.root, self.num_val, self.details = Path(root), num_val, details

    def load(self) -> Splits:
        train = Fashion(self.root, "train", details=self.details)
        return Splits(train, Fashion(self.root, "t10k", self.num_val, self.details), CLASSES)


class Fashion(CaptionedImages):
    """One half of Fashion-MNIST in memory.

    Args:
        root: Folder of the files.
        part: What their names begin with, train or t10k.
        count: Takes that many of them, the first ones; None takes all.
        details: Let the second caption go on with the thirds.

    Raises:
        FileNotFoundError: If a file is missing.
        ValueError: If a file is damaged, there are not as many labels as pictures, or fewer pictures than ``count``.
    """

    def __init__(self, root: Path, part: str, count: int | None = None, details: bool = False) -> None:
        self.part = part
        self._describe = detailed if details else described
        self._pictures = read_idx(root / f"{part}-images-idx3-ubyte.gz")  # (M, 28, 28)
        self._labels = read_idx(root / f"{part}-labels-idx1-ubyte.gz")  # (M,)
        if len(self._labels) != len(self._pictures):
            raise ValueError(f"{root}: {len(self._pictures)} {part} pictures, but {len(self._labels)} labels")
        if count is not None and count > len(self._pictures):
            raise ValueError(f"{root} has {len(self._pictures)} {part} pictures, fewer than the {count} asked for")
        self._pictures, self._labels = self._pictures[:count], self._labels[:count]

    def __len__(self) -> int:
        return len(self._pictures)

    def image(self, index: int) -> Tensor:
        border = (PADDED_SIZE - self._pictures.shape[-1]) // 2
        grey = np.pad(self._pictures[index], border)  # (28, 28) -> (32, 32)
        return torch.from_numpy(grey).expand(3, -1, -1)

    def captions(self, index: int) -> list[str]:
        name = CLASSES[self.label(index)]
        return [class_caption(name), self._describe(name, self._pictures[index])]

    def label(self, index: int) -> int:
        return int(self._labels[index])

    def key(self, index: int) -> str:
        return f"{self.part}/{index:05d}"


def read_idx(path: Path) -> np.ndarray:
    """A gzipped idx file of bytes (LeCun's format: 0, 0, type, rank, the sizes as big-endian 32 bits, the data).

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is damaged or of another type.
    """
    if not path.is_file():
        raise FileNotFoundError(
            f"there is no {path}: get Fashion-MNIST's four files, for instance by `apt-get install "
            "dataset-fashion-mnist`, and name their folder in data.init_args.root"
        )
    try:
        data = gzip.decompress(path.read_bytes())
    except (OSError, EOFError) as error:
        raise ValueError(f"{path} is damaged: {error}") from error
    rank = data[3] if len(data) > 4 else 0
    shape = np.frombuffer(data, ">u4", rank, 4) if len(data) >= 4 + 4 * rank else np.zeros(0, int)
    if data[:3] != b"\x00\x00\x08" or rank == 0 or len(data) != 4 + 4 * rank + int(shape.prod(dtype=np.int64)):
        raise ValueError(f"{path} is damaged: it is no idx file of bytes, or breaks off")
    return np.frombuffer(data, np.uint8, offset=4 + 4 * rank).reshape(shape)

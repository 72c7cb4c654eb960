"""ImageNet (ILSVRC 2012) as it is downloaded: folders, Hugging Face's Parquet shards or WebDataset tars."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from importlib import resources
from pathlib import Path

from textok.datamodules.bad_data import BadData
from textok.datamodules.bank_captions import BankCaptions
from textok.datamodules.base import ImageDataModule, Splits
from textok.datamodules.blobs import FileBlob
from textok.datamodules.crops import ADMCrop, EvalCrop
from textok.datamodules.decoding import Decoder
from textok.datamodules.manifests import ParquetSource
from textok.datamodules.missing_captions import MissingCaption, TemplateForMissing
from textok.datamodules.policies import CaptionPolicy
from textok.datamodules.source_images import SourceImages, list_sources
from textok.datamodules.sources import SUFFIXES, FolderSource, Row, Skip, Source, list_files
from textok.datamodules.tars import TarSource
from textok.datamodules.transforms import Augmentation


class ImageNetDataModule(ImageDataModule):
    """ImageNet or a part of it, in any form in which it is distributed.

    Below ``root`` it finds, in this order: train/ and val/, as folders by synset, where val may also be flat beside
    LOC_val_solution.csv or ILSVRC2012_validation_ground_truth.txt with meta.mat; the same below ILSVRC/Data/CLS-LOC;
    train-*.parquet and validation-*.parquet, also in data/; *train*.tar and *val*.tar. Labels count the sorted synsets.

    Args:
        root: The folder of the dataset.
        image_size: Height and width of the samples in pixels.
        num_classes: Classes; fewer than 1000 for a part.
        train: Where the training pictures are; None looks below ``root``.
        held_out: Where the validation pictures are; None looks below ``root``.
        missing: The caption of a picture that has none of its own, which in ImageNet is every picture; None makes it
            "a photo of a {class}".
        batch_size: Images of a training batch on one process.
        eval_batch_size: Images of an evaluation batch on one process; None takes ``batch_size``.
        num_workers: Worker processes of each loader; 0 reads in the main process.
        seed: Seed of order, augmentation and caption choice.
        augmentation: How training varies the pictures.
        caption_policy: Which caption an image gets; None takes the first.
        caption_bank: Captions from a bank instead of the dataset's own.
        text_cache: Folder that textok cache text wrote: batches bring text tokens and no encoder is loaded.
        crop: How evaluation makes a square of a picture; None takes ADM's centre crop.
        decoder: How bytes become pictures. As in ADM, EXIF orientations are ignored unless it says otherwise.
        bad_data: What happens to pictures that cannot be read.
    """

    def __init__(
        self,
        root: Path,
        image_size: int = 256,
        num_classes: int = 1000,
        train: Source | None = None,
        held_out: Source | None = None,
        missing: MissingCaption | None = None,
        batch_size: int = 64,
        eval_batch_size: int | None = None,
        num_workers: int = 8,
        seed: int = 0,
        augmentation: Augmentation = Augmentation(),  # noqa: B008 - frozen
        caption_policy: CaptionPolicy | None = None,
        caption_bank: BankCaptions | None = None,
        text_cache: Path | None = None,
        crop: EvalCrop | None = None,
        decoder: Decoder = Decoder(upright=False),  # noqa: B008 - frozen
        bad_data: BadData = BadData(max_share=0.0001),  # noqa: B008 - frozen
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
            crop=ADMCrop() if crop is None else crop,
            bad_data=bad_data,
        )
        self.root = Path(root)
        self.train = train
        self.held_out = held_out
        self.missing = TemplateForMissing() if missing is None else missing
        self.decoder = decoder

    def load(self) -> Splits:
        found = (None, None) if self.train is not None and self.held_out is not None else find(self.root)
        train, held_out = list_sources([self.train or found[0]]), list_sources([self.held_out or found[1]])
        categories = {row.category for row in train.rows}
        packed = synset_names()
        if self.num_classes == len(packed) and all(category.isdigit() for category in categories):
            # Shards hold numbers: those of the sorted synsets, whatever of them there is.
            labels = {str(label): label for label in range(len(packed))}
            names = list(packed.values())
        else:
            ordered = sorted(categories, key=lambda category: (category.isdigit() and len(category), category))
            labels = {category: label for label, category in enumerate(ordered)}
            names = [packed.get(category, category) for category in ordered]
        return Splits(
            SourceImages(train, labels, names, self.decoder, self.missing, "training"),
            SourceImages(held_out, labels, names, self.decoder, self.missing, "validation"),
            names,
        )


class FlatValidation(Source):
    """The validation pictures in one folder, as the original archive unpacks, with their classes in a file.

    Args:
        path: The folder of the pictures.
        labels: LOC_val_solution.csv, or ILSVRC2012_validation_ground_truth.txt, which numbers the synsets in an order
            of its own that meta.mat beside it tells.
        weight: Share of the pictures that come from this source, relative to the other sources' weights.
        name: Put before the keys of this source, which keeps those of several sources apart.
    """

    def __init__(self, path: Path, labels: Path, weight: float | None = None, name: str = "") -> None:
        super().__init__(weight, name)
        self.path = Path(path)
        self.labels = Path(labels)

    def rows(self, skip: Skip) -> Iterator[Row]:
        files = [file for file in list_files(self.path) if Path(file).suffix.lower() in SUFFIXES]
        if self.labels.suffix == ".csv":
            with self.labels.open(encoding="utf-8", newline="") as file:
                synsets = {row["ImageId"]: row["PredictionString"].split()[0] for row in csv.DictReader(file)}
        else:
            synsets = self._official(files)
        for file in files:
            synset = synsets.pop(Path(file).stem, None)
            if synset is None:
                skip(file, f"{self.labels.name} has no class for it")
            else:
                yield Row(file, FileBlob(str(self.path / file)), (), synset)
        for missing in synsets:
            skip(missing, f"{self.labels.name} has a class for it, but there is no such picture")

    def _official(self, files: list[str]) -> dict[str, str]:
        """Stem of each picture → synset, by the devkit's numbers."""
        meta = self.labels.with_name("meta.mat")
        if not meta.is_file():
            raise FileNotFoundError(
                f"{self.labels.name} numbers the synsets in the devkit's order, not by name: put the devkit's "
                f"data/meta.mat beside it ({meta}), or use LOC_val_solution.csv"
            )
        from scipy.io import loadmat

        synsets = loadmat(meta, squeeze_me=True)["synsets"]
        by_number = {int(row["ILSVRC2012_ID"]): str(row["WNID"]) for row in synsets if int(row["num_children"]) == 0}
        numbers = [int(line) for line in self.labels.read_text(encoding="ascii").split()]
        if len(numbers) != len(files):
            raise ValueError(f"{self.labels} has {len(numbers)} lines, but {self.path} has {len(files)} pictures")
        return {Path(file).stem: by_number[number] for file, number in zip(files, numbers)}


def find(root: Path) -> tuple[Source, Source]:
    """The training and the validation source below a folder.

    Raises:
        OSError: If there is nothing that looks like ImageNet.
    """
    for base in (root, root / "ILSVRC" / "Data" / "CLS-LOC"):
        train, val = base / "train", base / "val"
        if train.is_dir() and val.is_dir():
            return FolderSource(train, categories=True), _validation(root, val)
    for base in (root, root / "data"):
        if any(base.glob("train-*.parquet")):
            column = {"caption_column": None, "category_column": "label"}
            return ParquetSource(base, "train-*.parquet", **column), ParquetSource(base, "val*-*.parquet", **column)
    if any(root.glob("*train*.tar")):
        return (
            TarSource(str(root / "*train*.tar"), categories=True),
            TarSource(str(root / "*val*.tar"), categories=True),
        )
    raise FileNotFoundError(
        f"{root} does not look like ImageNet: there is neither train/ with val/, nor ILSVRC/Data/CLS-LOC, nor "
        "train-*.parquet, nor *train*.tar; name the sources in train and held_out"
    )


def synset_names() -> dict[str, str]:
    """Synset → name of the 1,000 classes, sorted by synset."""
    file = resources.files("textok.datamodules") / "data" / "imagenet" / "classes.json"
    return json.loads(file.read_text(encoding="utf-8"))


def _validation(root: Path, val: Path) -> Source:
    if any(place.is_dir() for place in val.iterdir()):
        return FolderSource(val, categories=True)
    names = ("LOC_val_solution.csv", "ILSVRC2012_validation_ground_truth.txt")
    folders = (root, val.parent, root / "ILSVRC2012_devkit_t12" / "data")
    for file in (folder / name for name in names for folder in folders):
        if file.is_file():
            return FlatValidation(val, file)
    raise FileNotFoundError(
        f"{val} is flat, and there is neither {names[0]} nor {names[1]} in {root} to tell its classes"
    )

"""Make a small tree that is laid out like ImageNet, to try a configuration without the 150 GB.

    python scripts/make_imagenet_tree.py FOLDER                       # 2,000 pictures of 8 classes, all layouts
    textok fit ... -c configs/data/imagenet256.yaml --data.init_args.root FOLDER/folders --data.init_args.num_classes 8

Written are FOLDER/folders (train and val by synset), FOLDER/flat (val flat with LOC_val_solution.csv), FOLDER/official
(val flat with the devkit's ground truth and meta.mat), FOLDER/parquet (Hugging Face's shards) and FOLDER/tars
(WebDataset). The pictures are textok's shapes, as JPEG of several sizes; a class is the kind of the largest shape,
under the first synsets of ImageNet.
"""

from __future__ import annotations

import argparse
import csv
import io
import os
import tarfile
from pathlib import Path

import numpy as np
from PIL import Image

from textok.datamodules.imagenet import synset_names
from textok.datamodules.shapes import FIRST_HELD_OUT, KINDS, Shapes

SYNSETS = list(synset_names())[: len(KINDS)]
#: Width and height, as mixed as in ImageNet.
SIZES = [(125, 94), (94, 125), (100, 100), (160, 90)]
SHARDS = 4


def pictures(count: int, first: int) -> list[tuple[str, bytes]]:
    """Synset and JPEG of each picture."""
    drawn = Shapes(160, count, first)
    found = []
    for index in range(count):
        square = Image.fromarray(drawn.image(index).permute(1, 2, 0).numpy())
        file = io.BytesIO()
        square.resize(SIZES[index % len(SIZES)]).save(file, "JPEG", quality=90)
        found.append((SYNSETS[drawn.label(index)], file.getvalue()))
    return found


def write_folders(folder: Path, split: str, rows: list[tuple[str, bytes]]) -> None:
    for number, (synset, data) in enumerate(rows):
        write(folder / split / synset / f"{synset}_{number}.JPEG", data)


def write_flat(folder: Path, rows: list[tuple[str, bytes]]) -> None:
    for number, (_, data) in enumerate(rows, 1):
        write(folder / "val" / f"ILSVRC2012_val_{number:08d}.JPEG", data)


def write_solution(folder: Path, rows: list[tuple[str, bytes]]) -> None:
    with (folder / "LOC_val_solution.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["ImageId", "PredictionString"])
        # Kaggle's file is not in the order of the names.
        for number, (synset, _) in reversed(list(enumerate(rows, 1))):
            table.writerow([f"ILSVRC2012_val_{number:08d}", f"{synset} 1 2 30 40 "])


def write_ground_truth(folder: Path, rows: list[tuple[str, bytes]]) -> None:
    from scipy.io import savemat

    # The devkit's numbers are in another order than the synsets, and its inner nodes come last.
    numbers = {synset: number for number, synset in enumerate(reversed(SYNSETS), 1)}
    fields = [("ILSVRC2012_ID", float), ("WNID", object), ("words", object), ("num_children", float)]
    table = [(number, synset, "words", 0) for synset, number in numbers.items()]
    savemat(folder / "meta.mat", {"synsets": np.array([*table, (len(table) + 1, "n00001740", "entity", 8)], fields)})
    lines = "".join(f"{numbers[synset]}\n" for synset, _ in rows)
    (folder / "ILSVRC2012_validation_ground_truth.txt").write_text(lines)


def write_parquet(folder: Path, split: str, rows: list[tuple[str, bytes]]) -> None:
    import pyarrow
    import pyarrow.parquet

    folder.mkdir(parents=True, exist_ok=True)
    for shard in range(SHARDS):
        mine = rows[shard::SHARDS]
        images = [{"bytes": data, "path": f"{split}_{shard}_{place}.JPEG"} for place, (_, data) in enumerate(mine)]
        labels = [SYNSETS.index(synset) for synset, _ in mine]
        table = pyarrow.table({"image": images, "label": labels})
        pyarrow.parquet.write_table(table, folder / f"{split}-{shard:05d}-of-{SHARDS:05d}.parquet", row_group_size=50)


def write_tars(folder: Path, split: str, rows: list[tuple[str, bytes]]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for shard in range(SHARDS):
        with tarfile.open(folder / f"imagenet-{split}-{shard:06d}.tar", "w") as tar:
            for place, (synset, data) in enumerate(rows[shard::SHARDS]):
                for suffix, content in {"cls": str(SYNSETS.index(synset)).encode(), "jpg": data}.items():
                    member = tarfile.TarInfo(f"{place:06d}.{suffix}")
                    member.size = len(content)
                    tar.addfile(member, io.BytesIO(content))


def write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def make(folder: Path, num_train: int, num_val: int) -> None:
    """Write all layouts."""
    train, val = pictures(num_train, 0), pictures(num_val, FIRST_HELD_OUT)
    folders, flat, official = folder / "folders", folder / "flat", folder / "official"
    write_folders(folders, "train", train)
    write_folders(folders, "val", val)
    for other, write_labels in ((flat, write_solution), (official, write_ground_truth)):
        write_flat(other, val)
        write_labels(other, val)
        if not (other / "train").exists():
            os.symlink(Path("..") / "folders" / "train", other / "train")
    for split, rows in {"train": train, "validation": val}.items():
        write_parquet(folder / "parquet", split, rows)
        write_tars(folder / "tars", split.removesuffix("idation"), rows)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--num_train", type=int, default=1800)
    parser.add_argument("--num_val", type=int, default=200)
    args = parser.parse_args()
    make(args.folder, args.num_train, args.num_val)
    print(f"written to {args.folder}: {', '.join(sorted(place.name for place in args.folder.iterdir()))}")

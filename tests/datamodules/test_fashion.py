"""Fashion-MNIST from files of its format."""

import gzip

import numpy as np
import pytest
import torch

from textok.datamodules import FashionDataModule, LongestCaption
from textok.datamodules.fashion import read_idx
from textok.datamodules.fashion_captions import described, detailed


def write_idx(path, array):
    header = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes()
    path.write_bytes(gzip.compress(header + array.tobytes()))


@pytest.fixture
def root(tmp_path):
    generator = np.random.default_rng(0)
    for part, count in (("train", 30), ("t10k", 12)):
        write_idx(tmp_path / f"{part}-images-idx3-ubyte.gz", generator.integers(0, 256, (count, 28, 28), np.uint8))
        write_idx(tmp_path / f"{part}-labels-idx1-ubyte.gz", np.arange(count, dtype=np.uint8) % 10)
    return tmp_path


def test_pictures_labels_and_captions(root):
    data = FashionDataModule(root, batch_size=6)
    data.setup()
    assert (len(data.splits.train), len(data.splits.held_out)) == (30, 12)
    batch = next(iter(data.val_dataloader()))
    assert batch.image.shape == (6, 3, 32, 32) and batch.label.tolist() == list(range(6))
    assert batch.caption[:2] == ["a photo of a t-shirt", "a photo of a pair of trousers"]
    assert data.prompts("held_out")[9] == (9, "a photo of an ankle boot")
    grey = torch.from_numpy(read_idx(root / "t10k-images-idx3-ubyte.gz").copy())
    assert torch.equal(batch.image[:, 0, 2:30, 2:30], grey[:6])
    assert batch.image[:, :, :2].sum() == batch.image[..., 30:].sum() == 0
    assert torch.equal(batch.image[:, 0], batch.image[:, 2])


def block(rows, columns, value=190):
    picture = np.zeros((28, 28), np.uint8)
    picture[slice(*rows), slice(*columns)] = value
    return picture


def test_a_caption_that_describes_says_what_is_seen():
    assert described("dress", block((0, 28), (9, 19))) == "a photo of a light gray dress, plain, narrow and very tall"
    low = block((10, 28), (2, 27), 250)
    low[10:14, 2:27] = 60
    assert described("sneaker", low) == "a photo of a white sneaker, plain, wide and low, darker at the top"
    striped = block((4, 28), (4, 24), 100)
    striped[4:28:2, 4:24] = 220
    striped[:, 10:18] //= 2
    assert described("bag", striped) == "a photo of a dark gray bag, patterned, slim and tall, dark in the middle"
    bright = block((14, 24), (0, 28), 60)
    bright[14:24, 10:18] = 250
    assert described("shirt", bright) == "a photo of a black shirt, plain, very wide and flat, bright in the middle"


def test_details_say_extent_and_tone_of_the_thirds():
    boot = block((4, 28), (2, 26), 0)  # a shaft, and from row 16 on a foot, brighter at the toe
    boot[4:28, 2:10] = 140
    boot[16:28, 10:26] = 190
    boot[16:28, 18:26] = 220
    assert detailed("ankle boot", boot).removeprefix(described("ankle boot", boot)) == (
        ", top narrow dark, middle wide gray, bottom full light, left full dark, center low light, right low white"
    )


def test_details_go_into_the_second_caption(root):
    data = FashionDataModule(root, num_val=5, details=True)
    data.setup()
    pictures = read_idx(root / "t10k-images-idx3-ubyte.gz")
    assert data.splits.held_out.captions(0) == ["a photo of a t-shirt", detailed("t-shirt", pictures[0])]
    assert ", top full dark, middle full dark, bottom full dark, left full dark" in data.splits.train.captions(0)[1]


def test_a_picture_without_clothing_gets_a_caption_too():
    assert described("coat", block((0, 0), (0, 0))) == "a photo of a black coat, plain, narrow and flat"
    thirds = ", ".join(f"{place} narrow black" for place in ("top", "middle", "bottom"))
    thirds += ", " + ", ".join(f"{place} flat black" for place in ("left", "center", "right"))
    assert detailed("coat", block((0, 0), (0, 0))) == f"a photo of a black coat, plain, narrow and flat, {thirds}"


def test_the_longest_caption_is_the_one_that_describes(root):
    data = FashionDataModule(root, batch_size=6, caption_policy=LongestCaption())
    data.setup()
    caption = next(iter(data.val_dataloader())).caption[0]
    assert caption.startswith("a photo of a dark gray t-shirt, patterned, very wide and very tall")
    pictures = read_idx(root / "t10k-images-idx3-ubyte.gz")
    assert data.splits.held_out.captions(0) == ["a photo of a t-shirt", described("t-shirt", pictures[0])]


def test_fewer_held_out_pictures_are_the_first_ones(root):
    data = FashionDataModule(root, num_val=5)
    data.setup()
    every = FashionDataModule(root)
    every.setup()
    assert (len(data.splits.train), len(data.splits.held_out)) == (30, 5)
    assert torch.equal(data.splits.held_out.image(4), every.splits.held_out.image(4))
    with pytest.raises(ValueError, match="12 t10k pictures, fewer than the 13 asked for"):
        FashionDataModule(root, num_val=13).setup()
    with pytest.raises(ValueError, match="num_val must be at least 1 or null, got 0"):
        FashionDataModule(root, num_val=0)


def test_files_that_are_missing_or_damaged(root, tmp_path):
    with pytest.raises(FileNotFoundError, match="apt-get install dataset-fashion-mnist"):
        FashionDataModule(tmp_path / "nowhere").setup()
    file = root / "train-images-idx3-ubyte.gz"
    whole = file.read_bytes()
    file.write_bytes(whole[:-40])
    with pytest.raises(ValueError, match="is damaged"):
        FashionDataModule(root).setup()
    file.write_bytes(gzip.compress(gzip.decompress(whole)[:-1]))
    with pytest.raises(ValueError, match="breaks off"):
        FashionDataModule(root).setup()
    write_idx(root / "train-images-idx3-ubyte.gz", np.zeros((29, 28, 28), np.uint8))
    with pytest.raises(ValueError, match="29 train pictures, but 30 labels"):
        FashionDataModule(root).setup()

"""Two processes of a group share what one would read, whatever the pictures lie in."""

import multiprocessing
import runpy
from pathlib import Path

import pytest
import torch.distributed as dist

from textok.datamodules import (
    CaptionDataModule,
    FolderSource,
    ImageNetDataModule,
    NoCaption,
    ParquetSource,
    TarSource,
)

ROOT = Path(__file__).parents[2]
COUNT, HELD_OUT = 42, 13


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    folder = tmp_path_factory.mktemp("imagenet")
    runpy.run_path(str(ROOT / "scripts" / "make_imagenet_tree.py"))["make"](folder, COUNT, HELD_OUT)
    return folder


def imagenet(tree, layout, batch_size):
    return ImageNetDataModule(tree / layout, 16, 8, batch_size=batch_size, eval_batch_size=4, num_workers=0)


def mixed(tree, weights, batch_size):
    sources = [
        FolderSource(tree / "folders" / "train", weight=weights[0], name="files"),
        TarSource(str(tree / "tars" / "*train*.tar"), weight=weights[1], name="tars"),
        ParquetSource(tree / "parquet", "train-*.parquet", caption_column=None, weight=weights[2], name="cells"),
    ]
    return CaptionDataModule(sources, 16, missing=NoCaption(), batch_size=batch_size, eval_batch_size=4, num_workers=0)


MAKERS = {
    "folders": lambda tree, batch_size: imagenet(tree, "folders", batch_size),
    "parquet": lambda tree, batch_size: imagenet(tree, "parquet", batch_size),
    "tars": lambda tree, batch_size: imagenet(tree, "tars", batch_size),
    "sets": lambda tree, batch_size: mixed(tree, [None, None, None], batch_size),
    "weighted sets": lambda tree, batch_size: mixed(tree, [3.0, 1.0, 2.0], batch_size),
}


def read(data):
    """What a process sees: two epochs of training batches, and the evaluation batches with what counts of them."""
    data.setup()
    loader = data.train_dataloader()
    trained = [list(zip(batch.key, batch.image.long().sum((1, 2, 3)).tolist())) for _ in range(2) for batch in loader]
    held_out = [list(zip(batch.key, batch.valid.tolist())) for batch in data.val_dataloader()]
    return trained, held_out


def one_rank(rank, store, data, results):
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=2)
    results.put((rank, read(data)))
    dist.destroy_process_group()


@pytest.mark.parametrize("name", MAKERS)
def test_two_ranks_train_in_the_order_of_one_and_evaluate_each_picture_once(tree, tmp_path, name):
    context = multiprocessing.get_context("fork")
    results = context.Queue()
    ranks = [
        context.Process(target=one_rank, args=(rank, tmp_path / "store", MAKERS[name](tree, 3), results))
        for rank in range(2)
    ]
    for process in ranks:
        process.start()
    (_, (first, first_held)), (_, (second, second_held)) = sorted(results.get(timeout=60) for _ in ranks)
    for process in ranks:
        process.join(timeout=60)
        assert process.exitcode == 0

    whole = MAKERS[name](tree, 6)
    one, one_held = read(whole)
    assert [a + b for a, b in zip(first, second)] == one and len(first) == len(second) == len(one)
    train = whole.splits.train
    epoch = [key for batch in one[: len(one) // 2] for key, _ in batch]
    if name == "weighted sets":
        share = sum(key.startswith("files/") for key in epoch) / len(epoch)
        assert abs(share - 0.5) < 0.05
    else:  # what does not fill the last batch is left out
        assert len(set(epoch)) == len(epoch) == len(train) // 6 * 6
    assert len(first_held) == len(second_held)  # as many forwards on each
    counted = [key for batch in [*first_held, *second_held] for key, valid in batch if valid]
    held_out = whole.splits.held_out
    assert sorted(counted) == sorted(held_out.key(i) for i in range(len(held_out)))
    assert counted and sorted(counted) == sorted(key for batch in one_held for key, valid in batch if valid)

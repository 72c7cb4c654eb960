"""The loaders with real Trainers, workers and processes."""

import gc
import multiprocessing
import subprocess
import sys
import time

import lightning.pytorch as pl
import pytest
import torch
import torch.distributed as dist
from lightning.pytorch.callbacks import ModelCheckpoint

from textok.datamodules.dataset import CaptionedImages, Samples
from textok.datamodules.loader import FixedLoader, ResumableLoader
from textok.datamodules.policies import FirstCaption
from textok.datamodules.transforms import Augmentation

NUM_IMAGES = 22


class Squares(CaptionedImages):
    """A ramp in each picture, so that every crop and flip of it looks different."""

    def __init__(self, count=NUM_IMAGES):
        self.count = count

    def __len__(self):
        return self.count

    def image(self, index):
        return (torch.arange(3 * 8 * 8).view(3, 8, 8) + index).to(torch.uint8)

    def captions(self, index):
        return [f"picture {index}"]

    def label(self, index):
        return 0

    def key(self, index):
        return str(index)


def samples(count=NUM_IMAGES, augmentation=None, seed=0):
    return Samples(Squares(count), ["all"], 8, FirstCaption(), augmentation, seed)


def training_loader(num_workers=0, batch_size=4, seed=0, count=NUM_IMAGES):
    return ResumableLoader(samples(count, Augmentation(0.6), seed), batch_size, num_workers, seed)


class Recorder(pl.LightningModule):
    """Learns nothing and remembers which pictures it was shown, and how they looked."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.seen = []

    def training_step(self, batch, batch_idx):
        # Without Lightning's epoch: a run that max_steps ended has counted its unfinished epoch as finished.
        self.seen.append((batch.index.tolist(), batch.image.long().sum(dim=(1, 2, 3)).tolist()))
        return self.weight * 0

    def validation_step(self, batch, batch_idx):
        pass

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


def fit(folder, max_steps, ckpt_path=None, num_workers=0, module=None, **kwargs):
    module = module or Recorder()
    settings = dict(limit_val_batches=0, enable_checkpointing=False) | kwargs
    trainer = pl.Trainer(
        accelerator="cpu",
        max_steps=max_steps,
        max_epochs=-1,
        default_root_dir=folder,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        num_sanity_val_steps=0,
        **settings,
    )
    val = FixedLoader(samples(), 4, num_workers) if settings["limit_val_batches"] else None
    trainer.fit(module, training_loader(num_workers), val, ckpt_path=ckpt_path, weights_only=False)
    return module.seen, trainer


def test_epochs_see_all_pictures_in_different_orders():
    loader = training_loader()
    first, second = ([i for batch in loader for i in batch.index.tolist()] for _ in range(2))
    assert len(loader) == 5 and len(set(first)) == len(set(second)) == 20
    assert first != second and first != sorted(first)
    again = training_loader()
    assert [i for batch in again for i in batch.index.tolist()] == first
    assert [i for batch in training_loader(seed=1) for i in batch.index.tolist()] != first


def test_a_picture_is_varied_anew_in_each_epoch_and_the_same_in_any_worker():
    def looks(num_workers):
        loader = training_loader(num_workers)
        return [{b.index[k].item(): b.image[k] for b in loader for k in range(4)} for _ in range(3)]

    here, there = looks(0), looks(2)
    for mine, theirs in zip(here, there):
        assert list(mine) == list(theirs)
        assert all(torch.equal(mine[i], theirs[i]) for i in mine)
    common = set(here[0]) & set(here[1])
    assert sum(not torch.equal(here[0][i], here[1][i]) for i in common) > len(common) // 2


@pytest.mark.parametrize("num_workers", [0, 2])
def test_a_resumed_run_sees_what_an_undisturbed_one_sees(tmp_path, num_workers):
    whole, _ = fit(tmp_path, max_steps=17)
    # 3 is in the middle of the first epoch, 5 and 10 at a border, 12 in a later one.
    for stop in (3, 5, 10, 12) if num_workers == 0 else (5, 7):
        before, trainer = fit(tmp_path, max_steps=stop, num_workers=num_workers)
        trainer.save_checkpoint(tmp_path / "stop.ckpt")
        after, _ = fit(tmp_path, max_steps=17, ckpt_path=tmp_path / "stop.ckpt", num_workers=num_workers)
        assert before + after == whole, stop


def test_every_checkpoint_of_a_run_with_validation_resumes(tmp_path):
    options = dict(limit_val_batches=1.0, val_check_interval=3, check_val_every_n_epoch=None)
    saver = ModelCheckpoint(
        tmp_path, "{step}", save_top_k=-1, every_n_train_steps=1, save_on_train_epoch_end=False, monitor=None
    )
    whole, _ = fit(tmp_path, max_steps=12, callbacks=[saver], enable_checkpointing=True, **options)
    for step in (3, 4, 5, 6, 10):
        after, _ = fit(tmp_path, max_steps=12, ckpt_path=tmp_path / f"step={step}.ckpt", **options)
        assert after == whole[step:], step


def test_short_lightning_epochs_lose_no_picture_and_resume(tmp_path):
    whole, _ = fit(tmp_path, max_steps=9, limit_train_batches=3)
    plain = training_loader()
    stream = [b.index.tolist() for _ in range(2) for b in plain]
    assert [index for index, _ in whole] == stream[:9]
    before, trainer = fit(tmp_path, max_steps=4, limit_train_batches=3)
    trainer.save_checkpoint(tmp_path / "stop.ckpt")
    after, _ = fit(tmp_path, max_steps=9, ckpt_path=tmp_path / "stop.ckpt", limit_train_batches=3)
    assert before + after == whole


def test_the_state_counts_what_was_handed_out_and_not_what_workers_prepared():
    loader = training_loader(num_workers=2)
    stream = iter(loader)
    for _ in range(2):
        next(stream)
    assert loader.state_dict() == {"epoch": 0, "consumed": 8, "num_images": NUM_IMAGES, "seed": 0}
    for _ in range(3):
        next(stream)
    assert loader.state_dict()["epoch"] == 1 and loader.state_dict()["consumed"] == 0


def test_a_run_goes_on_with_another_batch_size_where_it_stopped():
    loader = training_loader()
    stream = iter(loader)
    seen = [i for _ in range(2) for i in next(stream).index.tolist()]
    other = training_loader(batch_size=2)
    other.load_state_dict(loader.state_dict())
    rest = [i for _, batch in zip(range(7), other) for i in batch.index.tolist()]
    assert len(set(seen + rest)) == NUM_IMAGES


def test_with_a_batch_greater_than_the_rest_of_the_epoch_the_next_one_begins():
    loader = training_loader()
    for _, _ in zip(range(4), loader):
        pass
    other = training_loader(batch_size=10)
    other.load_state_dict(loader.state_dict())
    batch = next(iter(other))
    assert (other.epoch, other.consumed) == (1, 10)
    fresh = training_loader(batch_size=10)
    list(fresh)
    assert torch.equal(batch.index, next(iter(fresh)).index)


def test_dropping_a_loader_does_not_wait_for_its_workers():
    loader = training_loader(num_workers=2)
    next(iter(loader))
    begin = time.perf_counter()
    del loader
    gc.collect()
    assert time.perf_counter() - begin < 4  # it was 10 s


class Watcher(Recorder):
    """Remembers who works for it at each validation."""

    def on_validation_epoch_end(self):
        self.workers = [*getattr(self, "workers", []), {child.pid for child in multiprocessing.active_children()}]


def test_workers_stay_between_validations_and_end_with_the_fit(tmp_path):
    module, options = Watcher(), dict(limit_val_batches=1.0, val_check_interval=3, check_val_every_n_epoch=None)
    _, trainer = fit(tmp_path, max_steps=6, num_workers=2, module=module, **options)
    first, second = module.workers
    assert first == second and len(first) == 4  # two of each loader
    assert multiprocessing.active_children() == [], "while the trainer, and with it the loaders, is there"
    assert trainer.val_dataloaders is not None


def test_a_position_in_another_dataset_is_refused():
    state = training_loader().state_dict()
    with pytest.raises(ValueError, match=r"num_images = 22.*num_images = 30"):
        training_loader(count=30).load_state_dict(state)
    with pytest.raises(ValueError, match=r"seed = 0.*seed = 1"):
        training_loader(seed=1).load_state_dict(state)


def test_a_batch_greater_than_the_dataset_is_refused_with_a_remedy():
    with pytest.raises(ValueError, match=r"batch_size 32 is more than the 22 images.*at most 22"):
        training_loader(batch_size=32)


@pytest.mark.parametrize("num_workers", [0, 2])
def test_fixed_order_counts_each_picture_once_and_pads_the_last_batch(num_workers):
    loader = FixedLoader(samples(), 4, num_workers)
    for _ in range(2):
        batches = list(loader)
        assert len(batches) == len(loader) == 6 and all(len(b) == 4 for b in batches)
        index, valid = torch.cat([b.index for b in batches]), torch.cat([b.valid for b in batches])
        assert index[valid].tolist() == list(range(NUM_IMAGES)) and valid.sum() == NUM_IMAGES
        assert batches[0].key == ["0", "1", "2", "3"] and batches[0].caption[2] == "picture 2"


def one_rank(rank, store, results):
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=2)
    loader = training_loader()
    seen = [batch.index.tolist() for batch in loader]
    fixed = [list(zip(b.index.tolist(), b.valid.tolist())) for b in FixedLoader(samples(17), 4)]
    results.put((rank, seen, loader.state_dict(), fixed))
    dist.destroy_process_group()


def test_two_ranks_share_an_epoch_and_run_as_many_forwards(tmp_path):
    context = multiprocessing.get_context("fork")
    results = context.Queue()
    ranks = [context.Process(target=one_rank, args=(rank, tmp_path / "store", results)) for rank in range(2)]
    for process in ranks:
        process.start()
    (_, a, state_a, fixed_a), (_, b, state_b, fixed_b) = sorted(results.get(timeout=60) for _ in ranks)
    for process in ranks:
        process.join(timeout=60)
        assert process.exitcode == 0
    one = [batch.index.tolist() for batch in training_loader(batch_size=8)]
    assert [x + y for x, y in zip(a, b)] == one and len(a) == len(b) == 2
    assert state_a == state_b and state_a["epoch"] == 1
    assert len(fixed_a) == len(fixed_b) == 3 and all(len(batch) == 4 for batch in fixed_a + fixed_b)
    rows = [row for batch in fixed_a + fixed_b for row in batch]
    assert sorted(index for index, valid in rows if valid) == list(range(17))


#: An error leaves the iterator in the traceback, hence its workers for Python to end.
FAILING = """
from textok.datamodules import ShapesDataModule

data = ShapesDataModule(image_size=16, num_train=16, num_val=4, batch_size=4, num_workers=2)
data.setup()
batches = iter(data.train_dataloader())
next(batches)
raise ValueError("on purpose")
"""


def test_a_process_that_fails_does_not_wait_for_its_workers():
    done = subprocess.run([sys.executable, "-c", FAILING], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1 and "on purpose" in done.stderr


class HalfAnOrder(Squares):
    """A plug-in whose order forgets every second picture."""

    def order(self, generator):
        return super().order(generator)[::2]


def test_an_order_of_another_length_than_its_images_is_refused():
    short = Samples(HalfAnOrder(), ["all"], 8, FirstCaption(), None, 0)
    with pytest.raises(ValueError, match=r"order of epoch 0 has 11 places for 22 images"):
        next(iter(ResumableLoader(short, 4)))

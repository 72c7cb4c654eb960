"""Speed, in images a second and in matrix products."""

import time

import pytest
import torch
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import CSVLogger

from textok.callbacks import Throughput
from textok.callbacks.throughput import matmul_rate, training_dtype


class SlowTraining(Callback):
    def on_train_batch_start(self, *_):
        time.sleep(0.02)


class SlowValidation(Callback):
    def on_validation_batch_end(self, *_):
        time.sleep(0.5)


def test_logged_at_the_ends_of_windows_without_validation(make_trainer, make_module, make_data, tmp_path):
    logger = CSVLogger(tmp_path, name="", version="")
    trainer = make_trainer(
        [Throughput(window=4), SlowTraining(), SlowValidation()],
        max_steps=9,
        logger=logger,
        limit_val_batches=1,
        val_check_interval=2,
    )
    trainer.fit(make_module(), make_data(count=40))
    import csv

    rows = [row for row in csv.DictReader((tmp_path / "metrics.csv").open()) if row["train/images_per_second"]]
    assert [int(row["step"]) for row in rows] == [4, 8]
    for row in rows:
        # 4 images in a bit more than 20 ms; with the two half seconds of validation it would be below 16.
        assert 16 < float(row["train/images_per_second"]) < 200
        assert float(row["train/matmul_fraction"]) > 0
    ratio = [float(row["train/matmul_fraction"]) / float(row["train/images_per_second"]) for row in rows]
    assert ratio[0] == pytest.approx(ratio[1])
    assert "train/matmul_fraction" in trainer.callback_metrics


def test_no_fraction_without_a_count_of_flops(make_trainer, make_module, make_data):
    module = make_module()
    module.flops_per_image = lambda: None
    trainer = make_trainer([Throughput(window=2)])
    trainer.fit(module, make_data())
    assert "train/images_per_second" in trainer.callback_metrics
    assert "train/matmul_fraction" not in trainer.callback_metrics


def test_the_rate_of_products_is_found_in_short_time_without_touching_the_random_state():
    torch.manual_seed(0)
    expected = torch.rand(2)
    torch.manual_seed(0)
    start = time.perf_counter()
    rate = matmul_rate(torch.device("cpu"), torch.float32, seconds=0.1)
    assert time.perf_counter() - start < 5
    assert 1e8 < rate < 1e14
    assert torch.equal(torch.rand(2), expected)


def test_types_of_precisions():
    names = {"32-true": torch.float32, "bf16-mixed": torch.bfloat16, "bf16-true": torch.bfloat16}
    names |= {"16-mixed": torch.float16, "64-true": torch.float64}
    assert {name: training_dtype(name) for name in names} == names

"""Reconstruction numbers through a real Trainer."""

import pytest
import torch

from textok.callbacks import ReconstructionMetrics
from textok.metrics import PSNR


def validate(make_trainer, make_module, data, **settings):
    trainer = make_trainer([ReconstructionMetrics(**settings)], limit_val_batches=1.0)
    trainer.validate(make_module(), data, verbose=False)
    return {name: float(value) for name, value in trainer.callback_metrics.items()}


def by_hand(module, batch, captions):
    metric = PSNR()
    metric.update(batch.image, module.reconstruct(batch.image, captions))
    return metric.compute()["psnr"]


@torch.no_grad()
def test_numbers_of_each_caption(make_trainer, make_module, make_data):
    data, module = make_data(count=12, batch_size=12), make_module()
    numbers = validate(make_trainer, make_module, data)
    batch = data.on_after_batch_transfer(next(iter(data.val_dataloader())), 0)
    rolled = batch.caption[6:] + batch.caption[:6]  # half a batch on
    assert set(numbers) == {f"val/{m}{kind}" for m in ("psnr", "ssim") for kind in ("", "_empty", "_other")}
    assert numbers["val/psnr"] == pytest.approx(by_hand(module, batch, batch.caption), rel=1e-6)
    assert numbers["val/psnr_empty"] == pytest.approx(by_hand(module, batch, [""] * 12), rel=1e-6)
    assert numbers["val/psnr_other"] == pytest.approx(by_hand(module, batch, rolled), rel=1e-6)
    assert numbers["val/psnr"] != pytest.approx(numbers["val/psnr_empty"], rel=1e-6)


@pytest.mark.parametrize("batch_size", [1, 5])
def test_batch_size_does_not_show_and_padding_is_left_out(make_trainer, make_module, make_data, batch_size):
    kinds = {"captions": ["own", "empty"]}
    expected = validate(make_trainer, make_module, make_data(count=12, batch_size=12, padding=3), **kinds)
    numbers = validate(make_trainer, make_module, make_data(count=12, batch_size=batch_size, padding=3), **kinds)
    assert numbers == pytest.approx(expected, rel=1e-6)
    unpadded = validate(make_trainer, make_module, make_data(count=12, batch_size=12), **kinds)
    assert expected["val/psnr"] != pytest.approx(unpadded["val/psnr"], rel=1e-9)


def test_batches_of_one_borrow_the_caption_before(make_trainer, make_module, make_data):
    numbers = validate(make_trainer, make_module, make_data(count=4, batch_size=1))
    assert torch.tensor(list(numbers.values())).isfinite().all()


def test_a_test_logs_under_its_own_name(make_trainer, make_module, make_data):
    trainer = make_trainer([ReconstructionMetrics(captions=["own"], metrics=[PSNR()])])
    trainer.test(make_module(), make_data(), verbose=False)
    assert set(trainer.callback_metrics) == {"test/psnr"}


def test_a_stage_without_reconstructions(make_trainer, make_module, make_data):
    module = make_module()
    module.validation_step = lambda batch, batch_idx: None
    with pytest.raises(ValueError, match="returned no reconstruction"):
        make_trainer([ReconstructionMetrics()], limit_val_batches=1).validate(module, make_data(), verbose=False)


def test_an_unknown_kind_of_caption():
    with pytest.raises(ValueError, match="shuffled"):
        ReconstructionMetrics(captions=["own", "shuffled"])

"""The run's metrics.json."""

import json

import torch

from textok.callbacks import ReconstructionMetrics, ResultsWriter
from textok.metrics import PSNR


def callbacks():
    return [ReconstructionMetrics(captions=["own"], metrics=[PSNR()]), ResultsWriter()]


def read(folder):
    return json.loads((folder / "metrics.json").read_text())


def test_written_after_training_and_kept_by_a_test(make_trainer, make_module, make_data, tmp_path):
    module, data = make_module(), make_data()
    make_trainer(callbacks(), max_steps=3, limit_val_batches=1.0).fit(module, data)
    record = read(tmp_path)
    assert record["step"] == 3 and record["images_seen"] == 12 and record["training_seconds"] > 0
    assert set(record["metrics"]) == {"val/psnr"} and 0 < record["metrics"]["val/psnr"] < 60
    assert record["versions"]["torch"].startswith(torch.__version__.split("+")[0])

    make_trainer(callbacks()).test(module, data, verbose=False)
    tested = read(tmp_path)
    assert set(tested["metrics"]) == {"val/psnr", "test/psnr"}
    assert set(tested["conventions"]) == {"val/ReconstructionMetrics", "test/ReconstructionMetrics"}
    assert tested["conventions"]["val/ReconstructionMetrics"]["weights"] == "averages (EMA)"
    for name in record.keys() - {"metrics", "conventions"}:
        assert tested[name] == record[name]


def test_a_resumed_run_goes_on_counting(make_trainer, make_module, make_data, tmp_path):
    trainer = make_trainer(callbacks(), max_steps=2)
    trainer.fit(make_module(), make_data())
    trainer.save_checkpoint(tmp_path / "a.ckpt")
    first = read(tmp_path)
    trainer = make_trainer(callbacks(), max_steps=5)
    trainer.fit(make_module(), make_data(), ckpt_path=tmp_path / "a.ckpt", weights_only=True)
    assert read(tmp_path)["images_seen"] == 20 and read(tmp_path)["step"] == 5
    assert read(tmp_path)["training_seconds"] > first["training_seconds"]


def test_nan_becomes_null(make_trainer, make_module, make_data, tmp_path):
    module = make_module()
    torch.nn.init.constant_(module.ema.up.bias, torch.nan)
    make_trainer(callbacks(), limit_val_batches=1).validate(module, make_data(), verbose=False)
    assert read(tmp_path)["metrics"] == {"val/psnr": None}

"""The callbacks on two processes, and with sharded weights."""

import json
import time

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from safetensors.torch import load_file

from textok.callbacks import EMA, ReconstructionGrid, ReconstructionMetrics, ResultsWriter, SampleGrid, ShardWriter

pytestmark = pytest.mark.slow


class Average:
    """What EMA needs of a module and a trainer."""

    def __init__(self, ema, trained):
        self.ema, self.trained, self.global_step = ema, trained, 1


def shard_and_average(rank, folder):
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=2)
    torch.manual_seed(0)
    networks = [torch.nn.Linear(4, 6), torch.nn.Linear(4, 6)]
    expected = [torch.lerp(e.detach(), t.detach(), 0.25) for e, t in zip(*(n.parameters() for n in networks))]
    mesh = init_device_mesh("cpu", (2,))
    for network in networks:
        fully_shard(network, mesh=mesh)
    module = Average(*networks)
    EMA(decay=0.75, ramp=False).on_train_batch_end(module, module, None, None, 0)
    for parameter, value in zip(module.ema.parameters(), expected):
        torch.testing.assert_close(parameter.full_tensor(), value)
    dist.destroy_process_group()
    # A gloo thread dropping its last tensor while Python shuts down aborts the process (torch 2.14): let it end first.
    time.sleep(0.5)


def test_a_sharded_average(tmp_path):
    mp.spawn(shard_and_average, args=(str(tmp_path),), nprocs=2)


def test_one_number_and_every_prediction(make_trainer, make_module, make_data, tmp_path):
    def callbacks():
        metrics = ReconstructionMetrics(captions=["own", "empty"])
        return [metrics, ReconstructionGrid(4), SampleGrid(), ResultsWriter(), ShardWriter(images_per_shard=5)]

    make_trainer(callbacks(), limit_val_batches=1.0).validate(make_module(), make_data(), verbose=False)
    expected = json.loads((tmp_path / "metrics.json").read_text())["metrics"]
    (tmp_path / "metrics.json").unlink()

    two = {"strategy": "ddp_fork", "devices": 2, "limit_val_batches": 1.0}
    # Lightning's sampler gives each rank every second row: 6 and 6.
    make_trainer(callbacks(), **two).validate(make_module(), make_data(), verbose=False)
    assert json.loads((tmp_path / "metrics.json").read_text())["metrics"] == pytest.approx(expected, rel=1e-6)
    make_trainer(callbacks(), **two).predict(make_module(), make_data(), return_predictions=False)
    manifest = json.loads((tmp_path / "predictions/manifest.json").read_text())
    assert manifest["count"] == 12
    files = [shard["file"] for shard in manifest["shards"]]
    assert [name.removesuffix(".safetensors") for name in files] == [
        "00000-00000",
        "00000-00001",
        "00001-00000",
        "00001-00001",
    ]
    assert sum(len(load_file(tmp_path / "predictions" / name)["latents"]) for name in files) == 12
    assert (tmp_path / "pictures/reconstruction.png").exists() and (tmp_path / "pictures/samples.png").exists()

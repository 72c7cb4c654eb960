"""Shards of predictions."""

import json

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from textok.callbacks import ShardWriter
from textok.storage import sha256


def predict(make_trainer, make_module, data, size):
    trainer = make_trainer([ShardWriter(images_per_shard=size)])
    trainer.predict(make_module(), data, return_predictions=False)


@pytest.mark.parametrize("batch_size", [2, 11])
def test_shards_hold_every_valid_row_in_order(make_trainer, make_module, make_data, tmp_path, batch_size):
    data = make_data(count=12, batch_size=batch_size, padding=2)
    predict(make_trainer, make_module, data, size=4)
    folder = tmp_path / "predictions"
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["count"] == 10 and [shard["count"] for shard in manifest["shards"]] == [4, 4, 2]
    assert sorted(path.name for path in folder.iterdir()) == [
        *(f"00000-0000{number}.safetensors" for number in range(3)),
        "manifest.json",
    ]
    keys, latents = [], []
    for shard in manifest["shards"]:
        assert sha256(folder / shard["file"]) == shard["sha256"]
        tensors = load_file(folder / shard["file"])
        assert {name: list(value.shape) for name, value in tensors.items()} == {
            name: entry["shape"] for name, entry in shard["tensors"].items()
        }
        assert set(tensors) == {"latents", "label"} and shard["tensors"]["latents"]["dtype"] == "float32"
        latents.append(tensors["latents"])
        with safe_open(folder / shard["file"], "pt") as file:
            keys += json.loads(file.metadata()["keys"])
    assert keys == [f"picture-{row}" for row in range(10)]
    batch = data.on_after_batch_transfer(data.collate(data.rows()), 0)
    expected = make_module().ema.down(batch.image.flatten(1))[:10].detach()
    torch.testing.assert_close(torch.cat(latents), expected)


def test_finished_predictions_are_not_overwritten_and_leftovers_are(make_trainer, make_module, make_data, tmp_path):
    folder = tmp_path / "predictions"
    folder.mkdir()
    (folder / "00007-00000.safetensors").write_bytes(b"of a stopped run")
    predict(make_trainer, make_module, make_data(count=4), size=8)
    assert [path.name for path in folder.glob("*.safetensors")] == ["00000-00000.safetensors"]
    with pytest.raises(ValueError, match="holds finished predictions"):
        predict(make_trainer, make_module, make_data(count=4), size=8)

"""A picture that cannot be read, on its way through the commands that go over a whole dataset."""

import json
import shutil

import pytest

from textok import load_run
from textok.datamodules import LatentsDataModule
from textok.runs.evaluation import RunEvaluation
from textok.runs.latent_cache import LatentCacheOptions, write_latent_cache


def test_the_latents_of_a_bad_picture_are_nobody_s(damaged, stage1, tmp_path):
    data = damaged(broken=[3])
    module = load_run(stage1[1])
    options = LatentCacheOptions(dtype="float32", shard_size=8, batch_size=4)
    manifest = write_latent_cache(tmp_path / "latents", module, data, "a checkpoint", options)
    ((_, key, reason),) = manifest.details["bad"]
    assert key.startswith("03") and "truncated" in reason
    assert (tmp_path / "bad.tsv").read_text().count("03") == 1
    cached = LatentsDataModule(tmp_path / "latents", image_size=16, num_classes=1, batch_size=1)
    cached.setup()
    keys = [batch.key[0] for loader in (cached.predict_dataloader(), cached.val_dataloader()) for batch in loader]
    assert len(keys) == len(set(keys)) == 19 and key not in keys


def test_an_evaluation_counts_the_pictures_that_it_measured(damaged, stage1, tmp_path):
    data = damaged(broken=range(20), max_share=1.0)  # to see which are held out
    held_out = [data.splits.held_out.key(i) for i in range(len(data.splits.held_out))]
    assert 2 <= len(held_out) <= 15
    shutil.rmtree(tmp_path / "pictures")
    data = damaged(broken=[int(held_out[0][:2])])
    evaluation = RunEvaluation(stage1[1])
    evaluation.data = data
    record = json.loads(evaluation.reconstruction(["own"]).read_text())
    assert record["conventions"]["num_images"] == len(held_out) - 1


def test_too_many_bad_pictures_stop_the_cache(damaged, stage1, tmp_path):
    data = damaged(broken=range(0, 20, 2))
    with pytest.raises(ValueError, match=r"pictures are bad, more than max_share = 0\.2"):
        write_latent_cache(tmp_path / "latents", load_run(stage1[1]), data, "a checkpoint", LatentCacheOptions())
    assert not (tmp_path / "latents" / "manifest.json").exists()

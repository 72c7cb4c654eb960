"""References: computed once, found again under all they depend on, and refused where they do not fit."""

import json

import pytest
import torch

from textok.metrics import DistributionMetrics, Lite0FeatureExtractor, ReferenceCollector, cached_reference
from textok.metrics.reference import read_reference

IDENTITY = {"dataset": "pictures", "split": "val", "preprocessing": "centre crop 32"}


@pytest.fixture
def images(pictures):
    return pictures(12, seed=3, size=32)


def cached(folder, extractor, images, identity=IDENTITY, **options):
    """The reference, and how often the images were read for it."""
    reads = []

    def batches():
        reads.append(1)
        for rows in torch.arange(len(images)).split(5):
            yield images[rows], rows, None

    return cached_reference(folder, identity, ReferenceCollector(extractor, **options), batches), len(reads)


def test_the_second_time_no_image_is_read(lite0, images, tmp_path):
    first, reads = cached(tmp_path, lite0, images)
    assert reads == 1 and first.features.count == 12 and first.features.size == (32, 32)
    second, reads = cached(tmp_path, lite0, images)
    assert reads == 0 and second.describe() == first.describe()
    assert second.features.size == (32, 32) and second.features.gaussians["pooled"].count == 12
    assert torch.equal(second.features.rows["pooled"], first.features.rows["pooled"])
    metrics = DistributionMetrics(lite0, subset_size=6)
    metrics.update(images.flip(-1) // 2, torch.arange(12))
    assert metrics.compute(second) == metrics.compute(first)


def test_everything_it_depends_on_is_in_the_key(lite0, images, tmp_path):
    cached(tmp_path, lite0, images)
    other = Lite0FeatureExtractor(32)
    other.load()
    assert cached(tmp_path, lite0, images, {**IDENTITY, "split": "train"})[1] == 1
    assert cached(tmp_path, lite0, images, num_references=5)[1] == 1
    assert cached(tmp_path, lite0, images, seed=1)[1] == 1
    assert cached(tmp_path, other, images)[1] == 1
    assert len(list(tmp_path.glob("*.json"))) == 5


def test_damage_is_noticed_and_the_file_named(lite0, images, tmp_path):
    cached(tmp_path, lite0, images)
    (manifest,), (tensors,) = tmp_path.glob("*.json"), tmp_path.glob("*.safetensors")
    whole = tensors.read_bytes()
    tensors.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(ValueError, match=rf"{tensors.name} is damaged: delete .*{manifest.name}"):
        cached(tmp_path, lite0, images)
    tensors.unlink()
    with pytest.raises(ValueError, match=rf"{tensors.name} is damaged"):
        read_reference(manifest)
    manifest.write_text(manifest.read_text()[:50])
    with pytest.raises(ValueError, match=rf"manifest .*{manifest.name} is damaged"):
        read_reference(manifest)
    manifest.unlink()
    with pytest.raises(FileNotFoundError, match="there is no reference"):
        read_reference(manifest)
    assert cached(tmp_path, lite0, images)[1] == 1


def test_the_manifest_says_what_it_is(lite0, images, tmp_path):
    cached(tmp_path, lite0, images)
    told = json.loads(next(tmp_path.glob("*.json")).read_text())
    assert told["identity"] == IDENTITY and told["extractor"] == lite0.describe() and told["count"] == 12


def test_another_extractor_or_less_than_a_metric_reads(lite0, inception, images):
    other = Lite0FeatureExtractor(32)
    other.load()
    collector = ReferenceCollector(other)
    collector.update(images, torch.arange(12))
    reference = collector.compute(IDENTITY)
    with pytest.raises(ValueError, match=r"pictures val.* another extractor \(resize: '32x32.*here '64x64"):
        DistributionMetrics(lite0).check(reference)
    with pytest.raises(ValueError, match="another extractor"):
        DistributionMetrics(inception, ["fid"]).check(reference)
    DistributionMetrics(other).check(reference)
    DistributionMetrics(inception, ["is"]).check(None)
    del reference.features.rows["pooled"]
    with pytest.raises(ValueError, match="ked needs 'pooled'"):
        DistributionMetrics(other).check(reference)

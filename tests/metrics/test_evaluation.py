"""All distances of a set: invariance, the names of the numbers, warnings, and what is refused."""

import json
import shutil

import pytest
import torch
import torch.distributed as dist

from textok.metrics import DistributionMetrics, InceptionFeatures, Lite0FeatureExtractor
from textok.metrics.feature_set import FeatureSetAccumulator
from textok.types import from_uint8

IDENTITY = {"dataset": "pictures", "split": "val"}


def evaluate(extractor, images, real, batch_size, **options):
    metrics = DistributionMetrics(extractor, num_references=20, subset_size=15, num_subsets=3, **options)
    collector = metrics.reference_collector()
    for accumulator, side in ((metrics, images), (collector, real)):
        for rows in torch.arange(len(side)).split(batch_size):
            accumulator.update(side[rows], rows)
    return metrics.compute(collector.compute(IDENTITY)), metrics


@pytest.fixture(scope="module")
def sides(pictures):
    return pictures(21, seed=1, size=32), pictures(25, seed=2, size=32)


@pytest.fixture(scope="module")
def expected(lite0, sides):
    return evaluate(lite0, *sides, batch_size=64)[0]


@pytest.mark.parametrize("batch_size", [1, 7])
def test_batch_size_does_not_show(lite0, sides, expected, batch_size):
    results = evaluate(lite0, *sides, batch_size)[0]
    assert results == pytest.approx(expected, rel=1e-4)


class Given(Lite0FeatureExtractor):
    """Features that depend on the image alone to the last bit, whatever batch it is in."""

    def features(self, images):
        generator = torch.Generator().manual_seed(0)
        matrix = torch.randn(12, 1280, generator=generator, dtype=torch.float64)
        pixels = images[:, :, :2, :2].flatten(1).double() / 255
        return {"pooled": torch.stack([(row[:, None] * matrix).sum(dim=0) for row in pixels])}


@pytest.mark.parametrize("batch_size", [1, 7])
def test_batch_size_does_not_show_given_identical_features(lite0, sides, batch_size):
    extractor = Given(64)
    extractor.load()
    expected = evaluate(extractor, *sides, batch_size=64)[0]
    assert evaluate(extractor, *sides, batch_size)[0] == pytest.approx(expected, rel=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("batch_size", [1, 7])
def test_batch_size_does_not_show_with_inception(inception, sides, batch_size):
    expected = evaluate(inception, *sides, batch_size=64)[0]
    assert evaluate(inception, *sides, batch_size)[0] == pytest.approx(expected, rel=1e-4)


def evaluate_on_rank(rank, folder, make=lambda _: Lite0FeatureExtractor(64)):
    """One of two ranks: every second image in a shuffled order, the last batch padded by repeating an image."""
    extractor = make(folder)
    # Before the group: it imports timm and with it torch._dynamo, which keeps a group that is there already alive past
    # its end, and a thread of gloo's that outlives the interpreter aborts the process now and then (torch 2.14).
    extractor.load()
    dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=2)
    sides = torch.load(f"{folder}/sides.pt", weights_only=True)
    metrics = DistributionMetrics(extractor, num_references=20, subset_size=15, num_subsets=3)
    collector = metrics.reference_collector()
    for accumulator, side in ((metrics, sides[0]), (collector, sides[1])):
        order = torch.randperm(len(side), generator=torch.Generator().manual_seed(7))
        mine = torch.arange(rank, len(side) + len(side) % 2, 2)
        index = order[mine.clamp(max=len(side) - 1)]
        for rows, valid in zip(index.split(8), (mine < len(side)).split(8)):
            accumulator.update(side[rows], rows, valid)
    reference = collector.compute(IDENTITY)
    metrics.check(reference)
    results = {"results": metrics.compute(reference), "warnings": metrics.warnings}
    metrics.reset()
    metrics.update(sides[0][:4], torch.arange(4))  # both ranks the same images
    try:
        metrics.compute(reference)
    except ValueError as error:
        results["error"] = str(error)
    with open(f"{folder}/{rank}.json", "w") as file:
        json.dump(results, file)
    dist.destroy_process_group()


def evaluate_given_on_rank(rank, folder):
    evaluate_on_rank(rank, folder, lambda _: Given(64))


def evaluate_inception_on_rank(rank, folder):
    evaluate_on_rank(rank, folder, lambda folder: InceptionFeatures(f"{folder}/inception.pth"))


def test_world_size_does_not_show_given_identical_features(lite0, sides, tmp_path, on_two_ranks):
    torch.save(sides, tmp_path / "sides.pt")
    extractor = Given(64)
    extractor.load()
    expected = evaluate(extractor, *sides, batch_size=64)[0]
    assert on_two_ranks(evaluate_given_on_rank)[0]["results"] == pytest.approx(expected, rel=1e-6)


@pytest.mark.slow
def test_world_size_does_not_show_with_inception(inception, inception_weights, sides, tmp_path, on_two_ranks):
    torch.save(sides, tmp_path / "sides.pt")
    shutil.copy(inception_weights, tmp_path / "inception.pth")
    expected = evaluate(inception, *sides, batch_size=64)[0]
    assert on_two_ranks(evaluate_inception_on_rank)[0]["results"] == pytest.approx(expected, rel=1e-4)


def test_world_size_does_not_show(lite0, sides, expected, tmp_path, on_two_ranks):
    torch.save(sides, tmp_path / "sides.pt")
    first, second = on_two_ranks(evaluate_on_rank)
    assert first == second
    assert first["results"] == pytest.approx(expected, rel=1e-4)
    assert len(first["warnings"]) == 1
    # An error on the first rank reaches the others, which would wait for ever.
    assert "came 2 times" in first["error"]


def test_few_images_put_the_kernel_distance_first_and_the_floor_beside(lite0, sides):
    results, metrics = evaluate(lite0, *sides, batch_size=64)
    assert list(results) == ["ked", "ked_std", "precision_lite0", "recall_lite0", "fed", "fed_floor"]
    (warning,) = metrics.warnings
    assert "21 images against 25 for 1280 features" in warning and "read ked first" in warning
    assert "10 real images against 10 other real ones" in warning  # of the 20 that were drawn
    metrics.reset()
    assert metrics.warnings == []


def test_names_and_order_of_inceptions_numbers(inception, sides):
    metrics = DistributionMetrics(inception, ["is"])
    assert not metrics.needs_reference
    metrics.update(sides[0][:4], torch.arange(4))
    assert list(metrics.compute()) == ["is", "is_std"]
    assert metrics.compute() == metrics.compute() and metrics.warnings == []


def test_floats_are_rounded_to_the_same_bytes(lite0, sides, expected):
    assert evaluate(lite0, *(from_uint8(side) for side in sides), batch_size=64)[0] == expected


def test_padding_is_left_out(lite0, sides, expected):
    metrics = DistributionMetrics(lite0, num_references=20, subset_size=15, num_subsets=3)
    collector = metrics.reference_collector()
    for accumulator, side in ((metrics, sides[0]), (collector, sides[1])):
        rows = torch.arange(len(side) + 5).clamp(max=len(side) - 1)
        accumulator.update(side[rows], rows, torch.arange(len(side) + 5) < len(side))
    nothing = torch.zeros(4, dtype=torch.bool)
    metrics.update(sides[0][:4], torch.arange(4), nothing)
    assert metrics.compute(collector.compute(IDENTITY)) == pytest.approx(expected, rel=1e-4)


def test_conventions_are_json_and_name_what_moves_the_number(inception, lite0, sides):
    metrics = evaluate(lite0, *sides, batch_size=64)[1]
    reference = metrics.reference_collector()
    reference.update(sides[1], torch.arange(25))
    told = json.loads(json.dumps(metrics.conventions(reference.compute(IDENTITY)), allow_nan=False))
    assert told["reference"]["dataset"] == "pictures" and told["reference"]["num_images"] == 25
    assert told["kernel"]["subset_size"] == 15 and told["extractor"]["name"] == "lite0"
    assert "score" in DistributionMetrics(inception).conventions()


# ------------------------------------------------------------------------------------------- what is refused


def refused(extractor, images, match, index=None, valid=None):
    accumulator = FeatureSetAccumulator(extractor, ["pooled"], ["pooled"])
    with pytest.raises(ValueError, match=match):
        accumulator.update(images, torch.arange(len(images)) if index is None else index, valid)


def test_images_that_cannot_be_measured(lite0):
    images = torch.zeros(3, 3, 8, 8)
    broken = images.clone()
    broken[1, 0, 0, 0] = torch.nan
    broken[2, 0, 0, 0] = -torch.inf
    refused(lite0, broken, "2 of 3 images hold a NaN or an infinity, the first in row 1")
    refused(lite0, images + 200, "from 200 to 200: are these bytes")
    refused(lite0, images.int(), r"got torch\.int32")
    refused(lite0, images[:, :1], r"\(3, 1, 8, 8\)")
    refused(lite0, images, "index must be", index=torch.arange(2))
    accumulator = FeatureSetAccumulator(lite0, ["pooled"], [])
    accumulator.update(broken, torch.arange(3), torch.tensor([True, False, False]))  # padding may be anything


def test_sizes_that_do_not_fit(lite0, sides):
    metrics = DistributionMetrics(lite0)
    metrics.update(sides[0], torch.arange(21))
    with pytest.raises(ValueError, match="16x32 after images of 32x32"):
        metrics.update(sides[0][:, :, ::2], torch.arange(21, 42))
    collector = metrics.reference_collector()
    collector.update(sides[1][:, :, ::2, ::2], torch.arange(25))
    with pytest.raises(ValueError, match="the images are 32x32, those of pictures val 16x16"):
        metrics.compute(collector.compute(IDENTITY))


def test_images_in_zero_to_one_are_noticed(lite0, sides):
    results, metrics = evaluate(lite0, sides[0] / 255, sides[1], batch_size=64)
    assert results["fed"] > 0 and "not in [0, 1]" in metrics.warnings[0]


def test_no_image_an_image_twice_and_no_reference(lite0, sides):
    metrics = DistributionMetrics(lite0)
    with pytest.raises(ValueError, match="no image"):
        metrics.compute()
    metrics.update(sides[0][:8], torch.arange(8))
    with pytest.raises(ValueError, match="give a reference"):
        metrics.compute()
    metrics.update(sides[0][:2], torch.arange(7, 9))
    with pytest.raises(ValueError, match="image 7 came 2 times"):
        metrics.compute()


def test_weights_that_make_nan(sides):
    extractor = Lite0FeatureExtractor(64)
    extractor.load()
    extractor.network.conv_head.weight.mul_(torch.nan)
    metrics = DistributionMetrics(extractor)
    with pytest.raises(ValueError, match="'pooled' has a NaN"):
        metrics.update(sides[0][:2], torch.arange(2))


def test_unknown_metrics(lite0):
    with pytest.raises(ValueError, match=r"measures fed, ked.*no \['fid'\]"):
        DistributionMetrics(lite0, ["ked", "fid"])

"""FID, IS, KID, precision and recall against torch-fidelity, on the same weights and the same PNGs."""

import pytest
import torch
import torch_fidelity

from textok.metrics import DistributionMetrics


def sets(pictures):
    # Some samples are of black and white pixels: torch-fidelity computes KID in float32, and its error of 3e-8 shows in
    # the KID of similar sets.
    samples = pictures(14, seed=14)
    samples[:4] = 255 * torch.randint(0, 2, samples[:4].shape, generator=torch.Generator().manual_seed(0))
    return {"samples": samples, "real": pictures(18, seed=18)}


@pytest.fixture(scope="module")
def folders(pictures, write_pngs, tmp_path_factory):
    root = tmp_path_factory.mktemp("pngs")
    return [str(write_pngs(images, root / name)) for name, images in sets(pictures).items()]


@pytest.fixture(scope="module")
def ours(pictures, inception):
    metrics = DistributionMetrics(inception, num_subsets=1, subset_size=14, score_parts=3)
    collector = metrics.reference_collector()
    collector.update(sets(pictures)["real"], torch.arange(18))
    metrics.update(sets(pictures)["samples"], torch.arange(14))
    return metrics.compute(collector.compute({"dataset": "pictures"}))


def measure(folders, weights, **wanted):
    return torch_fidelity.calculate_metrics(
        input1=folders[0],
        input2=folders[1],
        cuda=False,
        feature_extractor="inception-v3-compat",
        feature_extractor_weights_path=str(weights),
        isc_splits=3,
        samples_shuffle=False,
        kid_subsets=1,
        kid_subset_size=14,
        batch_size=16,
        save_cpu_ram=True,
        cache=False,
        verbose=False,
        **wanted,
    )


def test_scores_kernel_distance_precision_and_recall(folders, inception_weights, ours):
    theirs = measure(folders, inception_weights, isc=True, kid=True, prc=True)
    for key, name in {
        "kid": "kernel_inception_distance_mean",
        "is": "inception_score_mean",
        "is_std": "inception_score_std",
        "precision": "precision",
        "recall": "recall",
    }.items():
        assert ours[key] == pytest.approx(theirs[name], rel=1e-4), key
    assert 0 < ours["precision"] < 1 and 0 < ours["recall"] < 1


@pytest.mark.slow  # torch-fidelity's eigenvalues of a singular product take half a minute
def test_frechet_distance(folders, inception_weights, ours):
    theirs = measure(folders, inception_weights, fid=True)
    assert ours["fid"] == pytest.approx(theirs["frechet_inception_distance"], rel=1e-4)

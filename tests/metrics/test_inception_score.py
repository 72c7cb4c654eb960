"""The Inception score against ADM's and torch-fidelity's computation."""

import numpy as np
import pytest
import torch

from textok.metrics.inception_score import inception_score, num_parts


def logits(count=50, classes=12):
    return torch.randn(count, classes, generator=torch.Generator().manual_seed(0)) * 3


def test_parts_as_adms_evaluator_takes_them():
    scores = []
    predictions = logits().softmax(dim=1).numpy().astype(np.float64)
    for i in range(0, len(predictions), 10):  # guided-diffusion, evaluations/evaluator.py, with its 5,000 as 10
        part = predictions[i : i + 10]
        kl = part * (np.log(part) - np.log(np.expand_dims(np.mean(part, 0), 0)))
        scores.append(np.exp(np.mean(np.sum(kl, 1))))
    mean, deviation = inception_score(logits(), parts=5)
    assert mean == pytest.approx(np.mean(scores), rel=1e-6)
    assert deviation == pytest.approx(np.std(scores), rel=1e-5)


@pytest.mark.parametrize("parts", [1, 3, 7])
def test_uneven_parts_as_torch_fidelity_takes_them(parts):
    from torch_fidelity.metric_isc import isc_features_to_metric

    expected = isc_features_to_metric(logits(), parts, shuffle=False)
    mean, deviation = inception_score(logits(), parts)
    assert mean == pytest.approx(expected["inception_score_mean"], rel=1e-9)
    assert deviation == pytest.approx(expected["inception_score_std"], rel=1e-7, abs=1e-12)


def test_bounds_and_underflow():
    sure = torch.eye(8).repeat(4, 1) * 1e4  # all other probabilities underflow, in float64 too
    assert inception_score(sure, parts=1)[0] == pytest.approx(8, rel=1e-9)
    assert inception_score(torch.zeros(9, 8), parts=1)[0] == pytest.approx(1, rel=1e-12)


def test_the_number_of_parts():
    assert [num_parts(count) for count in (10, 5000, 12_000, 50_000)] == [1, 1, 2, 10]
    with pytest.raises(ValueError, match="50 images cannot be taken over 51 parts"):
        inception_score(logits(), parts=51)

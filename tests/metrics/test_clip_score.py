"""The CLIP score against torchmetrics, with a small random CLIP."""

import pytest
import torch

from textok.metrics import CLIPScore
from textok.types import from_uint8

CAPTIONS = ["a red cat", "two dogs", "", "a cat and two red dogs in a row", "dog"]


@pytest.fixture(scope="module")
def metric(clip_folder):
    metric = CLIPScore(str(clip_folder))
    metric.load()
    return metric


@pytest.fixture
def images(pictures):
    return pictures(5, seed=0, size=40)


class Unwrapped(torch.nn.Module):
    """CLIP as torchmetrics 1.9 expects it, with tensors for features."""

    def __init__(self, network):
        super().__init__()
        self.network, self.config = network, network.config

    def get_image_features(self, *args):
        return self.network.get_image_features(*args).pooler_output

    def get_text_features(self, *args):
        return self.network.get_text_features(*args).pooler_output


@pytest.mark.parametrize("batch_size", [1, 2, 5])
def test_it_is_torchmetrics_number_at_any_batch_size(metric, images, batch_size):
    from torchmetrics.multimodal import CLIPScore as Theirs

    theirs = Theirs(lambda: (Unwrapped(metric.frozen.network), metric._processor))
    theirs.update(list(images), CAPTIONS)
    metric.reset()
    for rows in torch.arange(5).split(batch_size):
        metric.update(images[rows], [CAPTIONS[row] for row in rows])
    expected = float(theirs.compute())
    assert metric.compute()["clip_score"] == pytest.approx(expected, rel=1e-4)
    assert 0 < expected < 100 and metric.num_cut == 0


def test_the_caption_matters(metric, images):
    scores = metric.scores(images[:2], CAPTIONS[:2])
    assert not torch.allclose(scores, metric.scores(images[:2], CAPTIONS[:2][::-1]), rtol=1e-3)


def test_a_long_caption_keeps_its_end(metric, images):
    long = "a cat " * 30
    text = metric._processor(text=[long], return_tensors="pt", truncation=True, max_length=32)["input_ids"][0]
    assert len(text) == 32 and text[-1] == metric.frozen.network.config.text_config.eos_token_id
    metric.reset()
    metric.update(images[:2], [long, "a cat"])
    metric.compute()
    assert metric.num_cut == 1
    assert "32 tokens" in metric.conventions()["captions"]


def test_padding_is_left_out_and_floats_are_rounded(metric, images):
    metric.reset()
    metric.update(images[:3], CAPTIONS[:3])
    expected = metric.compute()
    metric.reset()
    metric.update(from_uint8(images), CAPTIONS, valid=torch.tensor([True, True, True, False, False]))
    metric.update(images[:1], ["x"], valid=torch.tensor([False]))
    assert metric.compute() == pytest.approx(expected, rel=1e-5)


def test_what_is_refused(metric, images, monkeypatch):
    metric.reset()
    with pytest.raises(ValueError, match="no image"):
        metric.compute()
    with pytest.raises(ValueError, match="5 images and 4 captions"):
        metric.update(images, CAPTIONS[:4])
    with pytest.raises(ValueError, match="NaN"):
        metric.update(torch.full((1, 3, 8, 8), torch.nan), ["a"])
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(FileNotFoundError, match=r"needs nobody/no-clip.*hf download nobody/no-clip.*`model`"):
        CLIPScore("nobody/no-clip").load()

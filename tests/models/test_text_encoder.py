"""What every text encoder does, shown on a small random T5 that is read from a folder like a real one."""

import warnings

import pytest
import torch

from textok.models.t5 import T5TextEncoder
from textok.models.text_encoder import blocks_of

CAPTIONS = ["a red cat", "", "a blue dog on a mat", "x", "a red cat", "two green birds", "a tree", "seven"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    from transformers import ByT5Tokenizer, T5Config, T5EncoderModel

    torch.manual_seed(0)
    path = str(tmp_path_factory.mktemp("t5"))
    config = T5Config(vocab_size=384, d_model=48, d_kv=12, num_heads=4, d_ff=96, num_layers=2)
    config.feed_forward_proj = "gated-gelu"
    T5EncoderModel(config).save_pretrained(path)
    ByT5Tokenizer().save_pretrained(path)
    return path


def loaded(folder, **arguments) -> T5TextEncoder:
    encoder = T5TextEncoder(folder, **{"num_tokens": 24, **arguments})
    encoder.load()
    return encoder


@pytest.fixture
def calls(monkeypatch):
    """The shapes of the ids that go through the network."""
    shapes, original = [], T5TextEncoder.hidden_states

    def spy(self, ids, mask):
        shapes.append(tuple(ids.shape))
        return original(self, ids, mask)

    monkeypatch.setattr(T5TextEncoder, "hidden_states", spy)
    return shapes


def test_shapes_mask_and_zero_padding(folder):
    text = loaded(folder)(CAPTIONS)
    assert text.tokens.shape == (8, 24, 48) and text.tokens.dtype == torch.float32
    assert text.mask.shape == (8, 24) and text.mask.dtype == torch.bool
    # ByT5: a token a byte and one at the end.
    assert text.mask.sum(1).tolist() == [len(c.encode()) + 1 if c else 0 for c in CAPTIONS]
    assert text.present.tolist() == [bool(c) for c in CAPTIONS]
    assert (text.tokens[~text.mask] == 0).all() and text.tokens[text.mask].abs().sum(1).min() > 0
    assert not text.tokens.requires_grad
    assert torch.equal(text.tokens[0], text.tokens[4])


def test_tokens_are_those_of_the_unpadded_network(folder):
    encoder = loaded(folder)
    ids = torch.tensor([[b + 3 for b in b"a red cat"] + [1]])
    with torch.no_grad():
        expected = encoder.network(input_ids=ids).last_hidden_state[0]
    torch.testing.assert_close(encoder(["a red cat"]).tokens[0, :10], expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_normalized_tokens_have_zero_mean_and_unit_variance(folder, dtype):
    plain, normalized = loaded(folder, dtype=dtype), loaded(folder, dtype=dtype, normalize=True)
    text, expected = normalized(CAPTIONS), plain(CAPTIONS)
    tokens = text.tokens[text.mask]
    tolerance = 1e-4 if dtype == "float32" else 2e-2
    torch.testing.assert_close(tokens.mean(-1), torch.zeros(len(tokens)), atol=tolerance, rtol=0)
    torch.testing.assert_close(tokens.var(-1, correction=0), torch.ones(len(tokens)), atol=tolerance, rtol=0)
    assert torch.equal(text.mask, expected.mask) and (text.tokens[~text.mask] == 0).all()
    # The same directions, but for their means.
    directions = expected.tokens[expected.mask] - expected.tokens[expected.mask].mean(-1, keepdim=True)
    assert torch.cosine_similarity(tokens, directions, dim=-1).min() > 0.999
    assert torch.equal(normalized(CAPTIONS).tokens, text.tokens)  # recalled
    # A cache of text tokens tells them apart, and those of before have the identity they had.
    assert normalized.identity == plain.identity | {"normalize": True} and "normalize" not in plain.identity


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("chunk_size", [1, 3, 8])
def test_bitwise_independent_of_batch_mates_and_cache(folder, dtype, chunk_size):
    encoder = loaded(folder, dtype=dtype, chunk_size=chunk_size)
    batch = encoder(CAPTIONS)
    recalled = encoder(CAPTIONS[::-1])
    assert torch.equal(recalled.tokens.flip(0), batch.tokens) and torch.equal(recalled.mask.flip(0), batch.mask)
    encoder.cache.clear()
    encoder(CAPTIONS[3:6])  # a resumed run meets the captions in other company
    mixed = encoder(CAPTIONS)
    assert torch.equal(mixed.tokens, batch.tokens)
    for i, caption in enumerate(CAPTIONS):
        encoder.cache.clear()
        alone = encoder([caption])
        assert torch.equal(alone.tokens[0], batch.tokens[i]) and torch.equal(alone.mask[0], batch.mask[i])


def test_a_caption_is_encoded_once_and_the_empty_one_never(folder, calls):
    encoder = loaded(folder, chunk_size=4)
    encoder(["", ""])
    assert calls == []
    encoder(CAPTIONS)  # 6 distinct ones
    assert calls == [(4, 24), (4, 24)]
    encoder(CAPTIONS[:5])
    assert len(calls) == 2
    encoder([*CAPTIONS, "A red cat"])  # keyed by the exact string
    assert calls[2:] == [(4, 24)]


def test_without_a_cache_captions_are_encoded_again(folder, calls):
    encoder = loaded(folder, cache_mib=0)
    first = encoder(CAPTIONS)
    assert torch.equal(encoder(CAPTIONS).tokens, first.tokens)
    assert len(calls) == 2 and len(encoder.cache) == 0


def test_the_cache_keeps_unpadded_tokens_in_the_encoders_dtype(folder):
    encoder = loaded(folder, dtype="bfloat16")
    encoder(["a red cat"])
    entry = encoder.cache.get("a red cat")
    assert entry.shape == (10, 48) and entry.dtype == torch.bfloat16 and entry.device.type == "cpu"


def test_an_empty_batch(folder):
    text = loaded(folder)([])
    assert text.tokens.shape == (0, 24, 48) and text.mask.shape == (0, 24)


def test_autocast_around_it_changes_nothing(folder):
    encoder = loaded(folder, cache_mib=0)
    outside = encoder(CAPTIONS)
    with torch.autocast("cpu", torch.bfloat16):
        inside = encoder(CAPTIONS)
    assert inside.tokens.dtype == torch.float32 and torch.equal(inside.tokens, outside.tokens)


def test_bfloat16_is_near_float32_and_not_equal(folder):
    full, half = loaded(folder)(CAPTIONS), loaded(folder, dtype="bfloat16")(CAPTIONS)
    assert half.tokens.dtype == torch.float32
    error = (full.tokens - half.tokens).norm() / full.tokens.norm()
    assert 1e-4 < error < 0.05


def test_a_long_caption_is_cut_counted_and_reported_once(folder):
    encoder = loaded(folder, cache_mib=0)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        text = encoder(["a caption that is too long to fit", "short"])
        encoder(["another caption that is too long to fit"])
    reports = [str(w.message) for w in caught if "was cut" in str(w.message)]
    assert len(reports) == 1 and encoder.num_truncated == 2
    assert "34 text tokens" in reports[0] and "num_tokens=24" in reports[0] and "a caption that is" in reports[0]
    assert text.mask[0].all()
    assert encoder.token_ids("a caption that is too long to fit")[0][-1] == 1  # the end token stays


def test_exactly_as_long_as_the_tokens_is_not_cut(folder):
    encoder = loaded(folder)
    assert encoder(["y" * 23]).mask.all() and encoder.num_truncated == 0


def test_forward_before_load_is_refused(folder):
    with pytest.raises(RuntimeError, match=r"load\(\)"):
        T5TextEncoder(folder)(["a cat"])


def test_it_is_frozen_and_loads_once(folder):
    encoder = T5TextEncoder(folder).train()
    assert not encoder.is_loaded
    encoder.load()
    network = encoder.network
    encoder.load()
    assert encoder.network is network and not network.training
    assert list(encoder.parameters()) == [] and encoder.state_dict() == {}
    assert not any(p.requires_grad for p in network.parameters())


def test_built_and_loaded_on_the_meta_device_it_has_real_weights(folder):
    with torch.device("meta"):
        encoder = T5TextEncoder(folder, num_tokens=24)
        encoder.load()
    assert encoder.dim == 48
    assert torch.equal(encoder(["a cat"]).tokens, loaded(folder)(["a cat"]).tokens)


def test_the_blocks_of_anybodys_network_are_found(folder):
    from transformers import BertConfig, BertModel

    t5 = loaded(folder).network  # its blocks hold lists of their own
    assert list(blocks_of(t5)) == list(t5.encoder.block)
    bert = BertModel(BertConfig(hidden_size=8, num_hidden_layers=3, num_attention_heads=2, intermediate_size=8))
    assert list(blocks_of(bert)) == list(bert.encoder.layer)
    assert list(blocks_of(torch.nn.Embedding(2, 2))) == []


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_on_a_gpu_tokens_are_bitwise_independent_too(folder, dtype):
    encoder = T5TextEncoder(folder, num_tokens=24, dtype=dtype)
    encoder.load("cuda")
    batch = encoder(CAPTIONS)
    assert batch.tokens.is_cuda and batch.mask.is_cuda
    assert torch.equal(encoder(CAPTIONS[::-1]).tokens.flip(0), batch.tokens)  # from the cache on the CPU
    for i, caption in enumerate(CAPTIONS):
        encoder.cache.clear()
        assert torch.equal(encoder([caption]).tokens[0], batch.tokens[i])


@pytest.mark.parametrize(
    ("argument", "value"),
    [("num_tokens", 0), ("chunk_size", 0), ("cache_mib", -1), ("dtype", "float16"), ("dim", 0)],
)
def test_bad_arguments_are_refused(argument, value):
    with pytest.raises(ValueError, match=f"{argument}.*{value}"):
        T5TextEncoder(**{argument: value})

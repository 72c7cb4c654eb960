import pytest

from textok.models.t5 import T5TextEncoder


@pytest.mark.parametrize(
    ("name", "dim"),
    [
        ("t5-small", 512),
        ("google-t5/t5-base", 768),
        ("t5-3b", 1024),
        ("google-t5/t5-11b", 1024),
        ("google/t5-v1_1-small", 512),
        ("google/t5-v1_1-large", 1024),
        ("google/t5-v1_1-xl", 2048),
        ("google/t5-v1_1-xxl", 4096),
        ("google/flan-t5-xl", 2048),
        ("DeepFloyd/t5-v1_1-xxl", 4096),
    ],
)
def test_width_of_published_models_is_known_without_weights(name, dim):
    assert T5TextEncoder(name).dim == dim


def test_the_default_is_the_papers_at_256():
    encoder = T5TextEncoder()
    assert (encoder.name, encoder.dim, encoder.num_tokens) == ("google/t5-v1_1-xl", 2048, 128)


def test_an_unknown_name_needs_dim():
    with pytest.raises(ValueError, match=r"someone/t5-mine.*`dim`"):
        T5TextEncoder("someone/t5-mine")
    assert T5TextEncoder("someone/t5-mine", dim=640).dim == 640


def test_a_folder_of_a_published_name_is_not_looked_up():
    with pytest.raises(ValueError, match="`dim`"):
        T5TextEncoder("./t5-small")


def test_the_decoder_is_left_out(tmp_path):
    from transformers import ByT5Tokenizer, T5Config, T5ForConditionalGeneration

    config = T5Config(vocab_size=384, d_model=16, d_kv=8, num_heads=2, d_ff=32, num_layers=1)
    T5ForConditionalGeneration(config).save_pretrained(tmp_path)
    ByT5Tokenizer().save_pretrained(tmp_path)
    encoder = T5TextEncoder(str(tmp_path), num_tokens=8)
    encoder.load()
    assert not any("decoder" in key for key in encoder.network.state_dict())
    assert encoder(["a cat"]).tokens.shape == (1, 8, 16)

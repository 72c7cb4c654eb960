"""Parts that several tests share."""

import pytest
import torch


@pytest.fixture(scope="session")
def t5_folder(tmp_path_factory):
    """A two-layer random T5 with a text tokenizer, read through ``from_pretrained`` like any other."""
    from transformers import ByT5Tokenizer, T5Config, T5EncoderModel

    folder = tmp_path_factory.mktemp("t5")
    torch.manual_seed(0)
    config = T5Config(vocab_size=384, d_model=16, d_kv=8, num_heads=2, d_ff=32, num_layers=2)
    T5EncoderModel(config).save_pretrained(folder)
    ByT5Tokenizer().save_pretrained(folder)
    return folder

"""The encoder of random word vectors: a word is a vector, whatever the caption and the process."""

import pytest
import torch

from textok.models import RandomTextEncoder


def encode(*captions, **choices):
    encoder = RandomTextEncoder(**{"dim": 16, "num_tokens": 4, "num_words": 4096} | choices)
    encoder.load()
    return encoder(list(captions))


def test_a_word_is_a_vector():
    text = encode("a red circle", "Red square, blue", "")
    assert text.mask.sum(1).tolist() == [3, 4, 0]
    assert torch.equal(text.tokens[0, 1], text.tokens[1, 0])
    assert not torch.equal(text.tokens[0, 2], text.tokens[1, 1])
    assert (text.tokens[~text.mask] == 0).all()


def test_the_vectors_depend_on_the_seed_alone():
    # Fixed numbers: Python's own hash of a word is another one in each process.
    assert RandomTextEncoder(num_words=4096).token_ids("A red circle") == ([3651, 3983, 1401], 3)
    assert torch.equal(encode("red").tokens, encode("red").tokens)
    assert not torch.equal(encode("red").tokens, encode("red", seed=1).tokens)
    assert RandomTextEncoder(seed=1).identity != RandomTextEncoder(seed=2).identity


def test_longer_captions_are_cut_and_counted():
    with pytest.warns(UserWarning, match="a caption of 6 text tokens was cut to num_tokens=4"):
        assert encode("one two three four five six").mask.all()


@pytest.mark.parametrize("choice", [{"num_words": 1}, {"std": 0.0}])
def test_choices_that_make_no_sense_are_refused(choice):
    with pytest.raises(ValueError, match=next(iter(choice))):
        RandomTextEncoder(**choice)

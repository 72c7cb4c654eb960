"""How an empty caption and padding enter a transformer."""

import pytest
import torch

from textok.models import InContext, NoText
from textok.types import Sizes, TextTokens

SIZES = Sizes(16, text_dim=4, num_text_tokens=3)


def text(lengths: list[int]) -> TextTokens:
    mask = torch.arange(3)[None] < torch.tensor(lengths)[:, None]
    return TextTokens(torch.randn(len(lengths), 3, 4) * mask[..., None], mask)


def test_no_text_adds_nothing():
    context = NoText(8, SIZES)(text([2]), None)
    assert (context.extra, context.memory, context.vector) == (None, None, None)


def test_in_context_projects_and_masks():
    strategy = InContext(8, SIZES)
    tokens = text([3, 1, 0])
    context = strategy(tokens, None)
    assert context.extra.shape == (3, 3, 8)
    assert torch.equal(context.extra_mask, tokens.mask)
    torch.testing.assert_close(context.extra[0, 1], strategy.project(tokens.tokens[0, 1]) + strategy.positions[1])


def test_a_learned_null_stands_only_where_the_caption_is_empty():
    strategy = InContext(8, SIZES, learned_null=True)
    context = strategy(text([2, 0]), None)
    assert context.extra_mask.tolist() == [[True, True, False], [True, False, False]]
    assert torch.equal(context.extra[1, 0], strategy.null)
    assert not torch.equal(context.extra[0, 0], strategy.null)


def test_text_of_another_length_is_refused():
    strategy = InContext(8, SIZES)
    with pytest.raises(ValueError, match="expected 3 text tokens a caption, got 2"):
        strategy(TextTokens(torch.zeros(1, 2, 4), torch.ones(1, 2, dtype=torch.bool)), None)
    with pytest.raises(ValueError, match="got None"):
        strategy(None, None)

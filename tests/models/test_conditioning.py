"""The conditioning strategies: what an empty caption, padding, batch mates and gradients do in each."""

import pytest
import torch

from textok.models import ClassEmbedding, CrossAttention, InContext, NoText, PooledText, TexTok
from textok.models.attention import MemoryAttention
from textok.models.layers import TransformerBlock
from textok.types import Context, Sizes, TextTokens

SIZES = Sizes(16, num_classes=5, text_dim=4, num_text_tokens=3)
READERS = [InContext, CrossAttention, PooledText]


def text(lengths: list[int], seed: int = 0) -> TextTokens:
    generator = torch.Generator().manual_seed(seed)
    mask = torch.arange(3)[None] < torch.tensor(lengths)[:, None]
    return TextTokens(torch.randn(len(lengths), 3, 4, generator=generator) * mask[..., None], mask)


def pair_of(strategy, **choices) -> TexTok:
    """A small pair with the strategy in both halves, moved off its start, where some strategies do nothing yet."""
    torch.manual_seed(0)
    sizes = dict(num_latents=5, patch_size=4, width=16, depth=2, num_heads=2)

    def make(width, data):
        return strategy(width, data, **choices)

    pair = TexTok(SIZES, **sizes, tokenizer_conditioning=make, detokenizer_conditioning=make).eval()
    with torch.no_grad():
        for parameter in pair.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return pair


def test_no_text_adds_nothing():
    context = NoText(8, SIZES)(text([2]), None)
    assert (context.extra, context.memory, context.vector) == (None, None, None)


def test_in_context_projects_and_masks():
    strategy = InContext(8, SIZES)
    tokens = text([3, 1, 0])
    context = strategy(tokens, None)
    assert context.extra.shape == (3, 3, 8)
    assert torch.equal(context.extra_mask, tokens.mask)
    projected = strategy.text.project(tokens.tokens[0, 1]) + strategy.text.positions[1]
    torch.testing.assert_close(context.extra[0, 1], projected)


@pytest.mark.parametrize("strategy", [InContext, CrossAttention])
def test_a_learned_null_stands_only_where_the_caption_is_empty(strategy):
    strategy = strategy(8, SIZES, learned_null=True)
    context = strategy(text([2, 0]), None)
    if strategy.__class__ is InContext:
        tokens, mask = context.extra, context.extra_mask
    else:
        tokens, mask = context.memory, context.memory_mask
    assert mask.tolist() == [[True, True, False], [True, False, False]]
    assert torch.equal(tokens[1, 0], strategy.text.null)
    assert not torch.equal(tokens[0, 0], strategy.text.null)


@pytest.mark.parametrize("strategy", [InContext, CrossAttention])
def test_text_of_another_length_is_refused(strategy):
    strategy = strategy(8, SIZES)
    with pytest.raises(ValueError, match="expected 3 text tokens a caption, got 2"):
        strategy(TextTokens(torch.zeros(1, 2, 4), torch.ones(1, 2, dtype=torch.bool)), None)


@pytest.mark.parametrize("strategy", READERS)
def test_text_must_be_there(strategy):
    with pytest.raises(ValueError, match="got None"):
        strategy(8, SIZES)(None, None)
    with pytest.raises(ValueError, match=f"{strategy.__name__} reads captions, but there is no text encoder"):
        strategy(8, Sizes(16))


@pytest.mark.parametrize("strategy", READERS)
def test_both_halves_hear_the_caption_and_nothing_else(strategy):
    pair, images = pair_of(strategy), torch.randn(3, 3, 16, 16)
    own, other = text([3, 1, 2]), text([3, 1, 2], seed=1)
    latents = pair.encode(images, own)
    shown = pair.decode(latents, own)
    assert not torch.allclose(pair.encode(images, other), latents, atol=1e-3)
    assert not torch.allclose(pair.decode(latents, other), shown, atol=1e-3)
    # Neither the padding's content nor batch mates matter.
    garbage = TextTokens(own.tokens.masked_fill(~own.mask[..., None], 1e3), own.mask)
    torch.testing.assert_close(pair(images, garbage)[0], shown)
    for i in range(3):
        torch.testing.assert_close(pair(images[i : i + 1], own[i : i + 1])[0][0], shown[i], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("strategy", READERS)
def test_empty_captions_are_all_alike_and_finite(strategy):
    pair, images = pair_of(strategy).train(), torch.randn(2, 3, 16, 16)
    fake = pair(images, text([0, 2]))[0]
    fake.square().mean().backward()
    assert all(p.grad.isfinite().all() for p in pair.parameters())
    rubbish = TextTokens(torch.full((2, 3, 4), 7.0), text([0, 2]).mask)
    torch.testing.assert_close(pair(images, rubbish)[0][0], fake[0])
    assert not torch.allclose(pair(images, text([3, 2]))[0][0], fake[0], atol=1e-3)


def test_the_class_is_heard_and_the_caption_is_not():
    pair, images = pair_of(ClassEmbedding, num_tokens=2), torch.randn(2, 3, 16, 16)
    label = torch.tensor([0, 4])
    assert not pair.needs_text
    shown = pair(images, text([3, 3]), label)[0]
    assert torch.equal(pair(images, text([3, 3], seed=1), label)[0], shown)
    changed = pair(images, None, torch.tensor([0, 3]))[0]
    assert torch.equal(changed[0], shown[0]) and not torch.allclose(changed[1], shown[1], atol=1e-3)
    assert pair.tokenizer.trunk.conditioning(None, label).extra.shape == (2, 2, 16)
    with pytest.raises(ValueError, match="needs the images' labels"):
        pair(images)
    with pytest.raises(ValueError, match="the data has none"):
        ClassEmbedding(8, Sizes(16))
    with pytest.raises(ValueError, match="num_tokens must be at least 1, got 0"):
        ClassEmbedding(8, SIZES, num_tokens=0)


def fresh(strategy) -> TexTok:
    torch.manual_seed(0)
    choices = dict(num_latents=5, patch_size=4, width=16, depth=2, num_heads=2)
    return TexTok(SIZES, **choices, tokenizer_conditioning=strategy, detokenizer_conditioning=strategy)


def test_pooled_text_starts_as_the_pair_without_text():
    images = torch.randn(2, 3, 16, 16)
    pooled, plain = fresh(PooledText), fresh(NoText)
    shared = {name: value for name, value in pooled.state_dict().items() if name in plain.state_dict()}
    plain.load_state_dict(shared, strict=True)
    torch.testing.assert_close(pooled(images, text([3, 1]))[0], plain(images)[0])


@pytest.mark.parametrize("strategy", [InContext, CrossAttention, ClassEmbedding])
def test_gradients_reach_every_parameter_from_the_first_step(strategy):
    pair = fresh(strategy)
    pair(torch.randn(2, 3, 16, 16), text([3, 2]), torch.arange(2))[0].square().mean().backward()
    assert [name for name, p in pair.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0] == []


def test_gradients_reach_every_parameter_of_pooled_text_once_its_gates_have_moved():
    pair = fresh(PooledText)
    optimizer = torch.optim.SGD(pair.parameters(), 0.1)
    for _ in range(2):  # behind a layer that starts at zero there is no gradient in the first step
        optimizer.zero_grad()
        pair(torch.randn(2, 3, 16, 16), text([3, 2]))[0].square().mean().backward()
        optimizer.step()
    assert [name for name, p in pair.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0] == []


def test_memory_attention_is_torchs():
    """Against nn.MultiheadAttention with the same weights."""
    torch.manual_seed(0)
    ours, theirs = MemoryAttention(8, 2), torch.nn.MultiheadAttention(8, 2, batch_first=True)
    theirs.in_proj_weight.data = torch.cat([ours.to_query.weight, ours.to_key_value.weight]).detach()
    theirs.in_proj_bias.data = torch.cat([ours.to_query.bias, ours.to_key_value.bias]).detach()
    theirs.out_proj.load_state_dict(ours.to_out.state_dict())
    x, memory = torch.randn(3, 6, 8), torch.randn(3, 4, 8)
    mask = torch.arange(4)[None] < torch.tensor([4, 2, 1])[:, None]
    expected = theirs(x, memory, memory, key_padding_mask=~mask, need_weights=False)[0]
    torch.testing.assert_close(ours(x, memory, mask), expected)
    torch.testing.assert_close(ours(x, memory), theirs(x, memory, memory, need_weights=False)[0])


@pytest.mark.parametrize("strategy", READERS)
def test_blocks_compile_without_a_break(strategy):
    pair, images, own = pair_of(strategy), torch.randn(2, 3, 16, 16), text([3, 0])
    expected = pair(images, own)[0]
    for block in pair.blocks():
        block.compile(backend="eager", fullgraph=True)
    torch.testing.assert_close(pair(images, own)[0], expected)


def test_a_plain_block_ignores_the_context():
    block, x = TransformerBlock(8, 2), torch.randn(2, 3, 8)
    assert torch.equal(block(x, Context()), block(x, Context(vector=torch.ones(2, 8), memory=x)))

"""DiT-T2I: what it reads, when it does not, and what an untrained block does."""

import pytest
import torch

from textok.models import DiT, DiTT2I
from textok.types import Condition, Context, Sizes, TextTokens

SIZES = Sizes(32, num_classes=5, text_dim=4, num_text_tokens=3)


def text(lengths, seed=0):
    generator = torch.Generator().manual_seed(seed)
    mask = torch.arange(3)[None] < torch.tensor(lengths)[:, None]
    return TextTokens(torch.randn(len(lengths), 3, 4, generator=generator) * mask[..., None], mask)


def tiny(**changes):
    torch.manual_seed(0)
    return DiTT2I(6, 3, 6, SIZES, **{"width": 32, "depth": 2, "num_heads": 2, **changes})


def trained(**changes):
    """A tiny one whose gates are open, as after some training."""
    dit = tiny(**changes)
    with torch.no_grad():
        for parameter in dit.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return dit.eval()


def inputs(seed=1):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(4, 6, 3, generator=generator), torch.randint(1000, (4,), generator=generator).float()


def test_untrained_blocks_are_identities_for_any_text():
    dit = tiny()
    tokens, memory = torch.randn(4, 6, 32), torch.randn(4, 3, 32)
    context = Context(vector=torch.randn(4, 32), memory=memory, memory_mask=text([3, 2, 1, 0]).mask)
    assert torch.equal(dit.blocks[0](tokens, context), tokens)
    assert torch.equal(dit(*inputs(), Condition(text=text([3, 2, 1, 0]))), torch.zeros(4, 6, 6))


def test_the_caption_is_heard_and_its_padding_is_not():
    dit, (x, t) = trained(), inputs()
    own = text([3, 2, 1, 0])
    out = dit(x, t, Condition(text=own))
    other = dit(x, t, Condition(text=text([3, 2, 1, 0], seed=1)))
    assert all(not torch.allclose(out[i], other[i], atol=1e-3) for i in range(3))
    assert torch.equal(out[3], other[3])  # no caption
    garbage = TextTokens(own.tokens.masked_fill(~own.mask[..., None], 1e3), own.mask)
    torch.testing.assert_close(dit(x, t, Condition(text=garbage)), out)


def test_a_dropped_caption_is_the_null_and_so_is_an_empty_one():
    dit, (x, t) = trained(), inputs()
    drop = torch.tensor([True, False, True, False])
    out = dit(x, t, Condition(text=text([3, 3, 3, 3]), drop=drop))
    empty = dit(x, t, Condition(text=text([0, 0, 0, 0])))
    kept = dit(x, t, Condition(text=text([3, 3, 3, 3])))
    torch.testing.assert_close(out[drop], empty[drop])
    torch.testing.assert_close(out[~drop], kept[~drop])
    assert not torch.allclose(out[~drop], empty[~drop], atol=1e-3)


def test_the_class_is_read_only_where_asked():
    (x, t), words = inputs(), text([3, 2, 1, 0])
    first, second = torch.tensor([0, 1, 2, 3]), torch.tensor([1, 2, 3, 4])
    both, alone = trained(with_class=True), trained()
    assert not torch.allclose(
        both(x, t, Condition(label=first, text=words)), both(x, t, Condition(label=second, text=words)), atol=1e-3
    )
    assert torch.equal(
        alone(x, t, Condition(label=first, text=words)), alone(x, t, Condition(label=second, text=words))
    )
    everything = torch.ones(4, dtype=torch.bool)
    torch.testing.assert_close(
        both(x, t, Condition(label=first, text=words, drop=everything)),
        both(x, t, Condition(label=second, text=text([1, 1, 1, 1]), drop=everything)),
    )


def test_gradients_reach_text_and_null_once_the_gates_have_moved():
    dit, (x, t) = trained(), inputs()
    dit(x, t, Condition(text=text([3, 2, 1, 0]))).square().mean().backward()
    assert [name for name, p in dit.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0] == []


def test_the_size_over_dit():
    """Per block four width² matrices with biases and a norm; once the projection, its positions and the null."""
    width, depth = 1152, 28
    sizes = Sizes(256, num_classes=1000, text_dim=2048, num_text_tokens=128)
    with torch.device("meta"):
        count = {
            kind: sum(p.numel() for p in kind(32, 8, 16, sizes, width=width, depth=depth, num_heads=16).parameters())
            for kind in (DiT, DiTT2I)
        }
    blocks = depth * (4 * width * width + 4 * width + 2 * width)
    text_part, classes = 2048 * width + width + 128 * width + width, 1000 * width
    assert count[DiTT2I] - count[DiT] == blocks + text_part - classes


def test_without_text_it_says_what_is_missing():
    with pytest.raises(ValueError, match="DiTT2I reads captions, but there is no text encoder"):
        DiTT2I(6, 3, 6, Sizes(32), width=32, depth=1, num_heads=2)
    with pytest.raises(ValueError, match="expected text tokens, got None"):
        tiny()(*inputs(), Condition(label=torch.zeros(4, dtype=torch.long)))


def test_blocks_compile_one_by_one_without_a_break():
    dit, (x, t), condition = trained(), inputs(), Condition(text=text([3, 2, 1, 0]))
    expected = dit(x, t, condition)
    for block in dit.blocks:
        block.compile(backend="eager", fullgraph=True)
    torch.testing.assert_close(dit(x, t, condition), expected)

"""DiT against its published counts, and what training and sampling rely on."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from textok.diffusion import GaussianDiffusion
from textok.models.dit import DiT, DiTBlock
from textok.types import Condition, Context, Sizes

# depth, width, heads, parameters in millions; GMAC at 32, 64, 128, 256 tokens of 8 channels
PUBLISHED = {
    "S": (12, 384, 6, 33, (0.70, 1.41, 2.88, 6.05)),
    "B": (12, 768, 12, 130, (2.78, 5.56, 11.22, 23.00)),
    "L": (24, 1024, 16, 458, (9.87, 19.68, 39.62, 80.69)),
    "XL": (28, 1152, 16, 675, (14.56, 29.03, 58.36, 118.61)),
}
SIZES = Sizes(image_size=32, num_classes=5)


def tiny(seed=0, **changes):
    torch.manual_seed(seed)
    arguments = dict(num_latents=6, latent_dim=3, out_dim=6, sizes=SIZES, width=32, depth=2, num_heads=2) | changes
    return DiT(**arguments)


def trained(**changes):
    """A tiny DiT whose gates are open, as after some training."""
    dit = tiny(**changes)
    with torch.no_grad():
        for parameter in dit.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return dit


def inputs(batch=4, seed=1):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(batch, 6, 3, generator=generator)
    t = torch.randint(1000, (batch,), generator=generator).float()
    return x, t, torch.arange(batch) % 5


def count_flops(tokens, depth, width, heads):
    """FLOPs of one forward, on the meta device: on a CPU the counter sees no attention."""
    with torch.device("meta"):
        dit = DiT(tokens, 8, 16, Sizes(256, num_classes=1000), width=width, depth=depth, num_heads=heads)
        with FlopCounterMode(display=False) as counter:
            dit(torch.empty(1, tokens, 8), torch.empty(1), Condition(label=torch.empty(1, dtype=torch.long)))
    return counter.get_total_flops()


@pytest.mark.parametrize("name", PUBLISHED)
def test_gmac_is_the_published_one(name):
    depth, width, heads, _, gmac = PUBLISHED[name]
    for tokens, expected in zip((32, 64, 128, 256), gmac):
        # All blocks cost the same; counting every one takes the meta device seconds.
        one, two = (count_flops(tokens, blocks, width, heads) for blocks in (1, 2))
        assert (one + (depth - 1) * (two - one)) / 2e9 == pytest.approx(expected, abs=0.006)


def test_gmac_of_the_whole_small_model():
    assert count_flops(32, 12, 384, 6) / 2e9 == pytest.approx(0.70, abs=0.006)


@pytest.mark.parametrize("name", PUBLISHED)
def test_parameters_are_the_published_ones(name):
    depth, width, heads, millions, _ = PUBLISHED[name]
    with torch.device("meta"):
        dit = DiT(256, 8, 16, Sizes(256, num_classes=1000), width=width, depth=depth, num_heads=heads)
    assert round(sum(p.numel() for p in dit.parameters()) / 1e6) == millions


def test_untrained_output_is_zero_and_blocks_are_identities():
    dit = tiny()
    x, t, label = inputs()
    assert torch.equal(dit(x, t, Condition(label=label)), torch.zeros(4, 6, 6))
    tokens = torch.randn(4, 6, 32)
    assert torch.equal(dit.blocks[0](tokens, Context(vector=torch.randn(4, 32))), tokens)


def test_initialisation_is_dits():
    dit = tiny(width=128, depth=1)
    bound = (6 / (128 + 384)) ** 0.5
    assert dit.blocks[0].attention.qkv.weight.abs().max() <= bound
    assert dit.blocks[0].attention.qkv.weight.std().item() == pytest.approx(bound / 3**0.5, rel=0.02)
    assert dit.embed_time.mlp.fc1.weight.std().item() == pytest.approx(0.02, rel=0.05)
    assert dit.embed_class.weight.std().item() == pytest.approx(0.02, rel=0.1)
    assert not dit.blocks[0].attention.qkv.bias.any()


def test_dropped_conditions_see_nothing_of_the_label():
    dit = trained()
    x, t, label = inputs()
    drop = torch.tensor([True, False, True, False])
    out = dit(x, t, Condition(label=label, drop=drop))
    other = dit(x, t, Condition(label=(label + 1) % 5, drop=drop))
    kept = dit(x, t, Condition(label=label))
    assert torch.equal(out[drop], other[drop])
    assert not torch.allclose(out[~drop], other[~drop])
    torch.testing.assert_close(out[~drop], kept[~drop])
    assert not torch.allclose(out[drop], kept[drop])


def test_a_generator_without_classes_uses_the_null_everywhere():
    dit = trained(sizes=Sizes(32))
    x, t, _ = inputs()
    out = dit(x, t, Condition(drop=torch.ones(4, dtype=torch.bool)))
    assert dit.num_classes == 0
    torch.testing.assert_close(out, dit(x, t, Condition()))


def test_time_and_position_matter():
    dit = trained()
    x, t, label = inputs()
    condition = Condition(label=label)
    out = dit(x, t, condition)
    assert not torch.allclose(out, dit(x, t + 1, condition))
    assert not torch.allclose(out.flip(1), dit(x.flip(1), t, condition), atol=1e-4)


def test_state_dict_has_no_tables_and_round_trips():
    first, second = trained(), tiny(seed=3)
    assert "positions" not in first.state_dict()
    second.load_state_dict(first.state_dict(), strict=True)
    x, t, label = inputs()
    assert torch.equal(first(x, t, Condition(label=label)), second(x, t, Condition(label=label)))


def test_blocks_compile_one_by_one_without_a_break():
    dit = trained()
    x, t, label = inputs()
    expected = dit(x, t, Condition(label=label))
    for block in dit.blocks:
        block.compile(backend="eager", fullgraph=True)
    torch.testing.assert_close(dit(x, t, Condition(label=label)), expected)


def test_autocast_keeps_the_residual_stream_in_float32():
    dit = trained()
    seen = []
    dit.blocks[1].register_forward_hook(lambda module, args, out: seen.append(out.dtype))
    x, t, label = inputs()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = dit(x, t, Condition(label=label))
    assert seen == [torch.float32]
    torch.testing.assert_close(out.float(), dit(x, t, Condition(label=label)), atol=0.1, rtol=0.1)


def test_a_subclass_brings_its_own_block_and_context():
    """How a text-conditioned DiT is built: a block that reads the memory, a context that holds it."""

    class MemoryBlock(DiTBlock):
        def forward(self, x, context):
            return super().forward(x, context) + context.memory.mean(1, keepdim=True)

    class WithMemory(DiT):
        def make_block(self, sizes):
            return MemoryBlock(self.width, self.num_heads, self.mlp_ratio)

        def make_context(self, t, condition):
            context = super().make_context(t, condition)
            context.memory = torch.ones(len(t), 3, self.width)
            return context

    dit = WithMemory(6, 3, 6, SIZES, width=32, depth=2, num_heads=2)
    assert all(isinstance(block, MemoryBlock) for block in dit.blocks)
    tokens, context = torch.randn(1, 6, 32), Context(vector=torch.randn(1, 32), memory=torch.ones(1, 3, 32))
    torch.testing.assert_close(dit.blocks[0](tokens, context), tokens + 1)


@pytest.mark.parametrize(
    "changes",
    [{"num_latents": 0}, {"latent_dim": -1}, {"depth": 0}, {"width": 33}, {"num_heads": 3}, {"mlp_ratio": 0.0}],
)
def test_bad_sizes_are_named(changes):
    (value,) = changes.values()
    with pytest.raises(ValueError, match=str(value)):
        tiny(**changes)


def test_latents_of_another_shape_are_refused():
    with pytest.raises(ValueError, match=r"\(B, 6, 3\).*\(2, 7, 3\)"):
        tiny()(torch.zeros(2, 7, 3), torch.zeros(2), Condition(label=torch.zeros(2, dtype=torch.long)))


def test_a_tiny_dit_learns_a_toy_distribution():
    """Two classes at opposite corners: the error falls below half of the untrained one, and the labels are used."""
    torch.manual_seed(0)
    process = GaussianDiffusion()
    dit = DiT(4, 2, process.out_dim(2), Sizes(32, num_classes=2), width=32, depth=1, num_heads=2)
    optimizer = torch.optim.AdamW(dit.parameters(), lr=1e-2, fused=True)

    def step():
        label = torch.randint(2, (64,))
        latents = (2.0 * label - 1)[:, None, None] + 0.1 * torch.randn(64, 4, 2)
        return process.loss(dit, latents, Condition(label=label))

    with torch.no_grad():
        before = torch.stack([sum(step().values()) for _ in range(4)]).mean()
    for _ in range(50):
        optimizer.zero_grad()
        sum(step().values()).backward()
        optimizer.step()
    with torch.no_grad():
        after = [step() for _ in range(8)]
    total = torch.stack([sum(terms.values()) for terms in after]).mean()
    assert total < before / 2
    assert all(term.isfinite() for terms in after for term in terms.values())

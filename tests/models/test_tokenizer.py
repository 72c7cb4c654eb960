"""The pair: figure 2's shapes, the paper's parameter counts, and what padding and captions may change."""

import pytest
import torch

from textok.models import InContext, NoText, TexTok
from textok.models.layers import patchify, unpatchify
from textok.types import Sizes, TextTokens

SIZES = Sizes(image_size=16, num_classes=3, text_dim=12, num_text_tokens=6)


def small(**kwargs) -> TexTok:
    torch.manual_seed(0)
    choices = {"num_latents": 5, "patch_size": 4, "width": 16, "depth": 2, "num_heads": 2} | kwargs
    return TexTok(SIZES, **choices).eval()


def some_text(batch: int, lengths: list[int], seed: int = 0) -> TextTokens:
    generator = torch.Generator().manual_seed(seed)
    tokens = torch.randn(batch, 6, 12, generator=generator)
    mask = torch.arange(6)[None] < torch.tensor(lengths)[:, None]
    return TextTokens(tokens * mask[..., None], mask)


def count(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


# paper.md: 176.20 / 176.27 / 176.42 / 176.71 M at 256² with T5-XL, 180.2-180.7 M at 512² with T5-XXL,
# 172.9-173.4 M without text.
@pytest.mark.parametrize(
    ("image_size", "patch_size", "text_dim", "num_latents", "with_text", "without"),
    [
        (256, 8, 2048, 32, 176_197_832, 172_853_960),
        (256, 8, 2048, 64, 176_271_560, 172_927_688),
        (256, 8, 2048, 128, 176_419_016, 173_075_144),
        (256, 8, 2048, 256, 176_713_928, 173_370_056),
        (512, 16, 4096, 32, 180_228_872, 173_739_272),
        (512, 16, 4096, 256, 180_744_968, 174_255_368),
    ],
)
def test_parameter_counts_are_the_papers(image_size, patch_size, text_dim, num_latents, with_text, without):
    sizes = Sizes(image_size, text_dim=text_dim, num_text_tokens=128)
    with torch.device("meta"):
        assert count(TexTok(sizes, num_latents, patch_size)) == with_text
        assert (
            count(
                TexTok(
                    Sizes(image_size),
                    num_latents,
                    patch_size,
                    tokenizer_conditioning=NoText,
                    detokenizer_conditioning=NoText,
                )
            )
            == without
        )


def test_shapes_and_range_of_a_round_trip():
    pair = small()
    images = torch.randn(3, 3, 16, 16)
    text = some_text(3, [6, 2, 0])
    latents = pair.encode(images, text)
    assert latents.shape == (3, 5, 8)
    assert pair.decode(latents, text).shape == images.shape
    fake, again, penalty = pair(images, text)
    assert torch.equal(again, latents)
    assert torch.equal(fake, pair.decode(latents, text))
    assert penalty.item() == 0


@pytest.mark.parametrize("patch_size", [1, 4, 8, 16])
def test_unpatchify_inverts_patchify(patch_size):
    images = torch.randn(2, 3, 16, 16)
    patches = patchify(images, patch_size)
    assert patches.shape == (2, (16 // patch_size) ** 2, 3 * patch_size**2)
    assert torch.equal(unpatchify(patches, patch_size), images)


def test_a_patch_holds_a_square_of_the_image():
    images = torch.randn(1, 3, 16, 16)
    second = patchify(images, 8)[0, 1].reshape(3, 8, 8)
    assert torch.equal(second, images[0, :, :8, 8:])


def test_latents_do_not_depend_on_batch_mates():
    pair = small()
    images, text = torch.randn(4, 3, 16, 16), some_text(4, [6, 1, 3, 0])
    together = pair.encode(images, text)
    for i in range(4):
        torch.testing.assert_close(pair.encode(images[i : i + 1], text[i : i + 1])[0], together[i], rtol=0, atol=1e-6)


def test_padded_text_changes_nothing():
    pair = small()
    images, text = torch.randn(2, 3, 16, 16), some_text(2, [3, 1])
    garbage = TextTokens(torch.where(text.mask[..., None], text.tokens, torch.tensor(1e3)), text.mask)
    torch.testing.assert_close(pair(images, garbage)[0], pair(images, text)[0])


@pytest.mark.parametrize(
    ("tokenizer", "detokenizer"), [(InContext, NoText), (NoText, InContext), (InContext, InContext), (NoText, NoText)]
)
def test_each_half_hears_the_caption_where_it_is_told_to(tokenizer, detokenizer):
    pair = small(tokenizer_conditioning=tokenizer, detokenizer_conditioning=detokenizer)
    images, own, other = torch.randn(2, 3, 16, 16), some_text(2, [4, 4]), some_text(2, [4, 4], seed=1)
    latents = pair.encode(images, own)
    assert torch.equal(pair.encode(images, other), latents) == (tokenizer is NoText)
    assert torch.equal(pair.decode(latents, other), pair.decode(latents, own)) == (detokenizer is NoText)
    assert pair.needs_text == (InContext in (tokenizer, detokenizer))


def test_gradients_reach_every_parameter():
    pair = small().train()
    pair(torch.randn(2, 3, 16, 16), some_text(2, [6, 3]))[0].square().mean().backward()
    assert [name for name, p in pair.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0] == []


def test_four_images_are_learned_in_thirty_steps():
    pair = small(width=64, num_heads=4).train()
    images, text = torch.rand(4, 3, 16, 16) * 2 - 1, some_text(4, [6, 4, 3, 2])
    optimizer = torch.optim.Adam(pair.parameters(), 2e-3)
    losses = []
    for _ in range(30):
        loss = (pair(images, text)[0] - images).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]


def test_bfloat16_autocast_runs_forward_and_backward():
    pair = small().train()
    with torch.autocast("cpu", torch.bfloat16):
        fake, latents, _ = pair(torch.randn(2, 3, 16, 16), some_text(2, [6, 0]))
        loss = fake.float().square().mean()
    loss.backward()
    assert latents.dtype == torch.bfloat16
    assert all(torch.isfinite(p.grad).all() for p in pair.parameters())


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ({"patch_size": 5}, "image_size 16 is not a multiple of patch_size 5"),
        ({"num_latents": 0}, "num_latents must be positive, got 0"),
        ({"depth": -1}, "depth must be positive, got -1"),
        ({"num_heads": 3}, "width 16 is not a multiple of num_heads 3"),
    ],
)
def test_impossible_choices_are_named(choices, message):
    with pytest.raises(ValueError, match=message):
        small(**choices)


def test_wrong_inputs_are_named():
    pair = small()
    with pytest.raises(ValueError, match=r"expected images of shape \(B, 3, 16, 16\), got \(1, 3, 8, 8\)"):
        pair.encode(torch.zeros(1, 3, 8, 8), some_text(1, [1]))
    with pytest.raises(ValueError, match=r"expected latents of shape \(B, 5, 8\), got \(1, 4, 8\)"):
        pair.decode(torch.zeros(1, 4, 8), some_text(1, [1]))
    with pytest.raises(ValueError, match="InContext reads captions, but there is no text encoder"):
        TexTok(Sizes(16), patch_size=4, width=16, depth=1, num_heads=2)


def test_all_learned_tables_start_at_table_std():
    pair = small(table_std=0.5, width=256, num_heads=4, num_latents=64)
    tables = {name: p for name, p in pair.named_parameters() if "trunk" not in name and p.dim() == 2}
    for name in ("tokenizer.queries", "tokenizer.positions", "detokenizer.patch_tokens", "detokenizer.positions"):
        assert tables[name].std().item() == pytest.approx(0.5, rel=0.05), name
    with pytest.raises(ValueError, match="table_std must be positive, got 0"):
        small(table_std=0.0)

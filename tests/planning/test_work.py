"""Work by part against torch's counter on the module's own step, and against what papers tell."""

import pytest
import torch
from lightning.pytorch import Trainer
from torch.utils.flop_counter import FlopCounterMode

from textok.frozen import Frozen
from textok.modules import AdversarialStage, TokenizerModule
from textok.planning.outlines import give_outline
from textok.planning.rehearsal import build_on_meta, fake_batch, some_normalizer
from textok.planning.work import DISCRIMINATOR, PAIR, PENALTY, TEXT_ENCODER, parts_of, phases_of

SLOW = pytest.mark.slow


@pytest.mark.parametrize(
    "entry",
    ["tokenizer", "generator", *(pytest.param(f"paper {stage}", marks=SLOW) for stage in ("tokenizer", "generator"))],
)
def test_work_is_what_the_counter_sees_in_the_module_s_own_step(entry, parsed):
    # The counter refuses the penalty's gradient at a leaf; it is counted by hand below.
    cli = parsed(entry, *(["--model.init_args.r1=null"] if "tokenizer" in entry else []))
    parts = parts_of(build_on_meta(cli))
    module = build_on_meta(cli)
    if isinstance(module, TokenizerModule):
        give_outline(module.perceptual)
        for part in module.perceptual.modules():
            if isinstance(part, Frozen):
                part.network.to("meta")
        module.stage = AdversarialStage(start=0)
    else:
        module.normalizer = some_normalizer(module.textok.latent_dim).to("meta")
    trainer = Trainer(accelerator="cpu", max_steps=1, logger=False, enable_checkpointing=False, barebones=True)
    module.trainer = trainer
    trainer.strategy.connect(module)
    images = 2
    with torch.device("meta"):
        batch = fake_batch(module.sizes, images, needs_text=True)
        with FlopCounterMode(display=False) as counter:
            module.micro_step(batch)
    estimated = sum(part.step for part in parts if part.name != TEXT_ENCODER)
    assert estimated == pytest.approx(counter.get_total_flops() / images, rel=0.02)


@pytest.mark.parametrize(("size", "gmac"), [("s", 2.88), ("xl", 58.36)])
def test_a_forward_of_dit_on_128_tokens_is_the_published_number(size, gmac, parsed):
    dit = parts_of(build_on_meta(parsed("paper generator", more=(f"dit/{size}", "conditioning/none"))))[0]
    assert dit.forward / 2e9 == pytest.approx(gmac, abs=0.01)
    # Forward, and twice as much backward; the first layer needs no gradient of its input.
    assert dit.step == pytest.approx(3 * dit.forward, rel=1e-3)


@pytest.fixture(scope="module")
def stage1(parsed):
    """Module and parts of the paper's stage 1."""
    module = build_on_meta(parsed("paper tokenizer"))
    return module, parts_of(module)


@pytest.mark.slow
def test_the_text_encoder_is_t5_xl_without_its_weights(stage1):
    text = stage1[1][-1]
    assert text.name == TEXT_ENCODER and not text.trained
    # T5 v1.1 XL: 24 layers of width 2048, a gated MLP of 5120, 32,128 embeddings.
    layer = 4 * 2048 * 2048 + 3 * 2048 * 5120
    assert text.parameters == pytest.approx(24 * layer + 32128 * 2048, rel=1e-3)
    # A MAC a weight and token, and attention's two products over 128 tokens.
    assert text.forward / 2 == pytest.approx(128 * (24 * layer + 24 * 2 * 128 * 2048), rel=0.01)


@pytest.mark.slow
def test_phases_of_stage_1_begin_the_discriminator_where_it_starts(stage1):
    first, second = phases_of(*stage1, 1_351_231)
    assert (first.steps, second.steps) == (80_000, 1_271_231)
    assert set(second.parts) - set(first.parts) == {DISCRIMINATOR, PENALTY}
    assert [phase.steps for phase in phases_of(*stage1, 50_000)] == [50_000]


@pytest.mark.slow
def test_discriminator_and_penalty_in_forwards(stage1):
    discriminator, penalty = (part for part in stage1[1] if part.name in (DISCRIMINATOR, PENALTY))
    # The pair's loss: forward, gradient of the image. Its own: two forwards, two whole backwards of two forwards each.
    assert discriminator.step == pytest.approx(8 * discriminator.forward, rel=0.01)
    # A forward, the image's gradient, and a backward of both.
    assert penalty.step == pytest.approx(6 * discriminator.forward, rel=0.02)


@pytest.mark.slow
def test_a_lazy_penalty_costs_its_share(stage1, parsed):
    cli = parsed("paper tokenizer", "--model.init_args.r1.init_args.every=16", more=("conditioning/none",))
    lazy = parts_of(build_on_meta(cli))[2]
    assert lazy.name == PENALTY
    assert lazy.step == pytest.approx(stage1[1][2].step / 16)


def test_without_text_no_encoder_runs(parsed):
    names = [part.name for part in parts_of(build_on_meta(parsed("tokenizer", more=("conditioning/none",))))]
    assert TEXT_ENCODER not in names and PAIR in names


def test_an_unknown_encoder_is_not_counted_and_said(parsed, tmp_path):
    encoder = "--model.init_args.text_encoder.init_args."
    module = build_on_meta(parsed("tokenizer", f"{encoder}name={tmp_path}/nothing", f"{encoder}dim=64"))
    assert parts_of(module)[-1].step is None


def test_the_first_t5_is_not_taken_for_its_successor(parsed):
    name = "--model.init_args.text_encoder.init_args.name="
    kind = "--model.init_args.text_encoder=textok.models.T5TextEncoder"
    first, successor = (
        parts_of(build_on_meta(parsed("generator", kind, f"{name}{t5}")))[-1]
        for t5 in ("t5-small", "google/t5-v1_1-small")
    )
    assert first.step is None and successor.parameters > 0

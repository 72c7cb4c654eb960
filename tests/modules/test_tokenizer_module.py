"""Stage 1: what a step is, who moves whom, and a run that goes on as if nothing had happened."""

from functools import partial

import pytest
import torch

from textok.losses import R1, Lite0PerceptualLoss
from textok.modules import AdversarialStage, LossWeights
from textok.modules.tokenizer import untrained
from textok.optim import Warmup


def test_one_batch_is_one_step_with_two_optimizers(make_tokenizer, make_data, make_trainer):
    # Lightning counts every optimiser's step by itself: max_steps=8 trained 4 batches (#17958).
    seen = []

    class Counted(type(make_tokenizer())):
        def micro_step(self, batch):
            seen.append((self.global_step, len(batch)))
            return super().micro_step(batch)

    module = make_tokenizer()
    module.__class__ = Counted
    trainer = make_trainer(8)
    trainer.fit(module, datamodule=make_data())
    assert seen == [(step, 4) for step in range(8)]
    assert trainer.global_step == 8
    for optimizer, updates in zip(trainer.optimizers, (8, 7)):  # the discriminator starts at step 1
        assert {int(state["step"]) for state in optimizer.state.values()} == {updates}


def test_accumulation_makes_one_step_of_k_batches(make_tokenizer, make_data, make_trainer):
    module, trainer = make_tokenizer(accumulate=2), make_trainer(3)
    trainer.fit(module, datamodule=make_data())
    assert trainer.global_step == 3
    assert trainer.fit_loop.epoch_loop.total_batch_idx + 1 == 6
    assert {int(state["step"]) for state in trainer.optimizers[0].state.values()} == {3}


@pytest.mark.parametrize("clip", [None, 0.05])
def test_two_micro_batches_equal_the_doubled_batch(make_tokenizer, make_data, make_trainer, clip):
    # LeCAM squares batch means, which are others over half a batch: it is left out.
    runs = []
    for accumulate, batch_size in ((1, 8), (2, 4)):
        module = make_tokenizer(accumulate=accumulate, lecam=None, clip=clip, discriminator_clip=clip).double()
        make_trainer(4, precision="64-true").fit(module, datamodule=make_data(batch_size))
        runs.append(module.state_dict())
    for name, value in runs[0].items():
        torch.testing.assert_close(value, runs[1][name], rtol=1e-9, atol=1e-11, msg=name)


def test_the_pair_never_moves_the_discriminator_nor_conversely(
    make_tokenizer, make_data, make_trainer, copy_weights, same_weights
):
    still = partial(torch.optim.SGD, lr=0.0)
    module = make_tokenizer(discriminator_optimizer=still)
    pair, critic = copy_weights(module.textok), copy_weights(module.discriminator)
    make_trainer(3).fit(module, datamodule=make_data())
    assert same_weights(critic, module.discriminator.state_dict())
    assert not same_weights(pair, module.textok.state_dict())

    module = make_tokenizer(optimizer=still)
    make_trainer(3).fit(module, datamodule=make_data())
    assert same_weights(pair, module.textok.state_dict())
    assert not same_weights(critic, module.discriminator.state_dict())


def test_gradients_pass_through_an_untrained_module_and_leave_it():
    critic, x = torch.nn.Linear(2, 1), torch.randn(1, 2, requires_grad=True)
    with untrained(critic):
        critic(x).sum().backward()
    assert x.grad is not None
    assert critic.weight.grad is None
    assert critic.weight.requires_grad


def test_the_discriminator_starts_learns_and_is_heard_in_turn(make_tokenizer, make_data, make_trainer):
    module = make_tokenizer(stage=AdversarialStage(start=2, warmup=2))
    terms = []
    original = module.micro_step
    module.micro_step = lambda batch: terms.append(original(batch)) or terms[-1]
    make_trainer(5).fit(module, datamodule=make_data())
    assert ["discriminator" in t for t in terms] == [False, False, True, True, True]
    assert ["adversarial" in t for t in terms] == [False, False, False, False, True]
    assert {"reconstruction", "r1", "lecam", "discriminator_accuracy", "logit_gap"} <= set(terms[-1])


def test_a_lazy_penalty_is_paid_at_its_steps(make_tokenizer, make_data, make_trainer):
    module = make_tokenizer(r1=R1(every=2), stage=AdversarialStage(start=0))
    paid = []
    original = module.micro_step
    module.micro_step = lambda batch: paid.append("r1" in (t := original(batch))) or t
    make_trainer(4).fit(module, datamodule=make_data())
    assert paid == [True, False, True, False]


def test_schedules_step_once_a_step(make_tokenizer, make_data, make_trainer):
    module = make_tokenizer(schedule=partial(Warmup, warmup_steps=9), accumulate=2, stage=AdversarialStage(start=0))
    trainer = make_trainer(4)
    trainer.fit(module, datamodule=make_data())
    assert trainer.optimizers[0].param_groups[0]["lr"] == pytest.approx(1e-3 * 5 / 10)
    assert [config.scheduler.last_epoch for config in trainer.lr_scheduler_configs] == [4, 4]


def test_terms_are_logged_unweighted(make_tokenizer, make_data, make_trainer):
    runs = []
    for weight in (1.0, 7.0):
        module = make_tokenizer(weights=LossWeights(reconstruction=weight), stage=AdversarialStage(start=9))
        terms = []
        original = module.micro_step
        module.micro_step = lambda batch, f=original, t=terms: t.append(f(batch)) or t[-1]
        make_trainer(3).fit(module, datamodule=make_data())
        runs.append(terms[0]["reconstruction"])
    assert runs[0] == runs[1]


@pytest.mark.parametrize("workers", [0, 2])
def test_a_resumed_run_ends_with_the_same_bits(
    make_tokenizer, make_data, make_trainer, same_weights, tmp_path, workers
):
    whole = make_tokenizer()
    make_trainer(7).fit(whole, datamodule=make_data(num_workers=workers, num_train=20))

    first = make_tokenizer()
    trainer = make_trainer(3)
    # The run is cut short, not planned short: its schedules span the whole of it.
    first.configure_optimizers = lambda: _planned(first, 7)
    trainer.fit(first, datamodule=make_data(num_workers=workers, num_train=20))
    trainer.save_checkpoint(tmp_path / "cut.ckpt")
    again = make_tokenizer()
    make_trainer(7).fit(again, datamodule=make_data(num_workers=workers, num_train=20), ckpt_path=tmp_path / "cut.ckpt")
    assert same_weights(whole.state_dict(), again.state_dict())


def _planned(module, steps):
    real, module.trainer.fit_loop.epoch_loop.max_steps = module.trainer.max_steps, steps
    try:
        return type(module).configure_optimizers(module)
    finally:
        module.trainer.fit_loop.epoch_loop.max_steps = real


def test_a_checkpoint_holds_no_frozen_network(make_tokenizer, make_data, make_trainer, tmp_path):
    module, trainer = make_tokenizer(), make_trainer(3)
    trainer.fit(module, datamodule=make_data())
    trainer.save_checkpoint(tmp_path / "a.ckpt")
    state = torch.load(tmp_path / "a.ckpt", weights_only=True)["state_dict"]
    assert {name.split(".")[0] for name in state} == {"textok", "ema", "discriminator", "lecam"}
    trained = {id(p) for o in trainer.optimizers for g in o.param_groups for p in g["params"]}
    assert not trained & {id(p) for p in module.ema.parameters()}
    assert len(trained) == len(list(module.textok.parameters())) + len(list(module.discriminator.parameters()))


def test_validation_uses_the_averages(make_tokenizer, make_data):
    module, data = make_tokenizer(), make_data()
    data.setup()
    batch = data.on_after_batch_transfer(next(iter(data.val_dataloader())), 0)
    module.configure_model()
    before = module.reconstruct(batch.image, batch.caption)
    with torch.no_grad():
        for parameter in module.textok.parameters():
            parameter.add_(1.0)
    assert torch.equal(module.reconstruct(batch.image, batch.caption), before)


def test_no_text_encoder_is_needed_without_text(make_tokenizer, make_data, make_trainer):
    from textok.models import NoText, TexTok

    bare = partial(
        TexTok,
        num_latents=4,
        patch_size=4,
        width=16,
        depth=1,
        num_heads=2,
        tokenizer_conditioning=NoText,
        detokenizer_conditioning=NoText,
    )
    module = make_tokenizer(textok=bare, text_encoder=None)
    make_trainer(3).fit(module, datamodule=make_data())
    assert module.encode_captions(["a cat"]) is None


def test_a_single_number_as_a_batch_s_latents_skips_no_step(make_tokenizer, make_data, make_trainer):
    from textok.models import PlainBottleneck, TexTok

    one = partial(TexTok, num_latents=1, patch_size=4, width=16, depth=1, num_heads=2)
    module = make_tokenizer(textok=partial(one, bottleneck=partial(PlainBottleneck, latent_dim=1)))
    before = {name: value.clone() for name, value in module.textok.named_parameters()}
    make_trainer(3).fit(module, datamodule=make_data(batch_size=1))
    assert any(not torch.equal(value, before[name]) for name, value in module.textok.named_parameters())


def test_settings_that_cannot_work_are_told(make_tokenizer, make_data, make_trainer):
    with pytest.raises(ValueError, match="a discriminator needs discriminator_optimizer"):
        make_tokenizer(discriminator_optimizer=None)
    with pytest.raises(ValueError, match="accumulate must be at least 1, got 0"):
        make_tokenizer(accumulate=0)
    with pytest.raises(ValueError, match=r"trainer\.max_steps must be set"):
        make_trainer(-1).fit(make_tokenizer(), datamodule=make_data())


def test_flops_grow_when_the_discriminator_plays(make_tokenizer, make_data, make_trainer):
    module = make_tokenizer()
    make_trainer(3).fit(module, datamodule=make_data())
    module.stage = AdversarialStage(start=10**9)
    without = module.flops_per_image()
    module.stage = AdversarialStage(start=0)
    assert module.flops_per_image() > without > 0


def test_a_step_may_span_epochs(make_tokenizer, make_data, make_trainer):
    # Three micro-batches a step and two batches an epoch: dropping an epoch's rest would never make a step.
    module, trainer = make_tokenizer(accumulate=3, stage=AdversarialStage(start=0)), make_trainer(2, max_epochs=9)
    trainer.fit(module, datamodule=make_data(num_train=8))
    assert trainer.global_step == 2
    assert trainer.fit_loop.epoch_loop.total_batch_idx + 1 == 6


def test_a_lazy_penalty_is_logged_whichever_steps_log(make_tokenizer, make_data, make_trainer):
    # Paid before update 0, 2, 4, … and logged after updates 2 and 4: the two never meet.
    module, trainer = make_tokenizer(r1=R1(every=2), stage=AdversarialStage(start=0)), make_trainer(4)
    trainer.log_every_n_steps = 2
    trainer.fit(module, datamodule=make_data())
    assert trainer.callback_metrics["train/r1"] > 0


def test_the_discriminator_s_schedule_spans_its_own_updates(make_tokenizer, make_data, make_trainer):
    module, trainer = make_tokenizer(stage=AdversarialStage(start=4)), make_trainer(8)
    trainer.fit(module, datamodule=make_data())
    assert trainer.optimizers[1].param_groups[0]["lr"] == pytest.approx(0.0, abs=1e-12)


def test_a_pair_that_is_only_used_loads_no_perceptual_network(make_tokenizer, monkeypatch):
    loss, loads = Lite0PerceptualLoss(image_size=32), []
    monkeypatch.setattr(loss, "load", lambda: loads.append(loss))
    module = make_tokenizer(perceptual=loss)
    module.configure_model()
    images = torch.zeros(1, 3, 16, 16)
    assert module.reconstruct(images, ["a star"], torch.zeros(1, dtype=torch.int64)).shape == images.shape and not loads

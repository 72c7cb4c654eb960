"""Stage 2: a frozen pair, a sample that depends on its request alone, and checkpoints that do not fit."""

from functools import partial

import pytest
import torch

from textok.diffusion import AutoGuidance, Sampler
from textok.models import DiT, DiTT2I, NoText, TexTok
from textok.types import Request, to_uint8


@pytest.fixture
def stage1(make_tokenizer, make_data, make_trainer, tmp_path):
    """A checkpoint of stage 1 whose averages differ from its raw weights."""
    module, trainer = make_tokenizer(), make_trainer(3)
    trainer.fit(module, datamodule=make_data())
    file = tmp_path / "stage1" / "checkpoints" / "step00000003.ckpt"
    trainer.save_checkpoint(file)
    return file, module


def test_the_pair_is_the_averaged_one_and_stays(stage1, make_generator, make_data, make_trainer, same_weights):
    file, first = stage1
    for source in (file, file.parents[1]):  # the checkpoint, or the run folder
        module = make_generator(source)
        make_trainer(3).fit(module, datamodule=make_data())
        assert same_weights(module.textok.state_dict(), first.ema.state_dict())
    assert not same_weights(first.ema.state_dict(), first.textok.state_dict())
    assert not module.textok.training


def test_only_the_dit_learns_and_latents_are_standardised(stage1, make_generator, make_data, make_trainer):
    module, trainer = make_generator(stage1[0]), make_trainer(2)
    data = make_data()
    trainer.fit(module, datamodule=data)
    trained = {id(p) for g in trainer.optimizers[0].param_groups for p in g["params"]}
    assert trained == {id(p) for p in module.dit.parameters()}
    latents = []
    for batch in data.predict_dataloader():
        batch = data.on_after_batch_transfer(batch, 0)
        encoded = module.textok.encode(batch.image, module.encode_text(batch))
        latents.append(module.normalizer.normalize(encoded)[batch.valid])
    latents = torch.cat(latents)
    torch.testing.assert_close(latents.mean((0, 1)), torch.zeros(8), rtol=0, atol=1e-5)
    torch.testing.assert_close(latents.std((0, 1), correction=0), torch.ones(8), rtol=0, atol=1e-4)


def test_a_sample_depends_on_its_request_alone(stage1, make_generator, make_data, make_trainer):
    module = make_generator(stage1[0])
    make_trainer(2).fit(module, datamodule=make_data())
    requests = [Request(index=i, label=i % 8, seed=5) for i in range(5)]
    together = module.generate(requests)
    torch.manual_seed(99)
    alone = torch.cat([module.generate([request]) for request in reversed(requests)]).flip(0)
    torch.testing.assert_close(alone, together, rtol=0, atol=1e-4)
    other = module.generate([Request(index=0, label=0, seed=6)])
    assert not torch.equal(to_uint8(other), to_uint8(together[:1]))


def test_a_class_is_decoded_with_one_of_its_captions(stage1, make_generator, make_data, make_trainer):
    module, data = make_generator(stage1[0]), make_data()
    make_trainer(2).fit(module, datamodule=data)
    assert module.class_captions == data.class_captions()
    drawn = {module.generation.caption_of(Request(index=i, label=0)) for i in range(40)}
    assert drawn <= set(data.class_captions()[0])
    assert module.generation.caption_of(Request(index=0, label=0, caption="a cat")) == "a cat"


def test_a_resumed_run_ends_with_the_same_bits(stage1, make_generator, make_data, make_trainer, same_weights, tmp_path):
    from textok.optim import Warmup

    whole = make_generator(stage1[0], schedule=Warmup)
    make_trainer(6).fit(whole, datamodule=make_data(num_train=20))
    first, trainer = make_generator(stage1[0], schedule=Warmup), make_trainer(2)
    trainer.fit(first, datamodule=make_data(num_train=20))
    trainer.save_checkpoint(tmp_path / "cut.ckpt")
    # The run folder may have moved since: a resumed run does not read stage 1 again.
    again = make_generator(tmp_path / "nowhere", schedule=Warmup)
    make_trainer(6).fit(again, datamodule=make_data(num_train=20), ckpt_path=tmp_path / "cut.ckpt")
    assert same_weights(whole.state_dict(), again.state_dict())
    assert again.class_captions == whole.class_captions


def test_validation_repeats_its_noise(stage1, make_generator, make_data, make_trainer):
    module = make_generator(stage1[0])
    trainer = make_trainer(2)
    trainer.fit(module, datamodule=make_data())
    evaluator = make_trainer(1, limit_val_batches=None)
    values = []
    for _ in range(2):
        evaluator.validate(module, datamodule=make_data(), verbose=False)
        values.append({name: value.item() for name, value in evaluator.callback_metrics.items()})
    assert values[0] == values[1]
    assert set(values[0]) == {"val/mse", "val/vlb"}


def test_a_pair_that_does_not_fit_is_named_key_by_key(stage1, make_generator, make_data, make_trainer):
    wider = partial(TexTok, num_latents=8, patch_size=4, width=16, depth=2, num_heads=2)
    with pytest.raises(ValueError, match="does not fit this configuration's textok") as error:
        make_trainer(2).fit(make_generator(stage1[0], textok=wider), datamodule=make_data())
    text = str(error.value)
    assert "shape: tokenizer.queries is (4, 16), this model has (8, 16)" in text
    assert "missing: tokenizer.trunk.blocks.1.norm1.weight" in text


def test_other_files_are_no_stage_1(make_generator, make_data, make_trainer, tmp_path):
    with pytest.raises(ValueError, match="tokenizer_checkpoint is not set"):
        make_trainer(2).fit(make_generator(None), datamodule=make_data())
    with pytest.raises(ValueError, match="neither a checkpoint nor a run folder"):
        make_trainer(2).fit(make_generator(tmp_path), datamodule=make_data())
    torch.save({"state_dict": {}}, tmp_path / "empty.ckpt")
    with pytest.raises(ValueError, match="holds no averaged pair"):
        make_trainer(2).fit(make_generator(tmp_path / "empty.ckpt"), datamodule=make_data())
    (tmp_path / "half.ckpt").write_bytes(b"PK\x03\x04 not a whole file")
    with pytest.raises(ValueError, match=r"half\.ckpt cannot be read"):
        make_trainer(2).fit(make_generator(tmp_path / "half.ckpt"), datamodule=make_data())


def test_a_label_out_of_range_is_named(stage1, make_generator, make_data, make_trainer):
    module = make_generator(stage1[0])
    make_trainer(2).fit(module, datamodule=make_data())
    with pytest.raises(ValueError, match="label 8 is out of range: there are 8 classes"):
        module.generate([Request(index=0, label=8)])


@pytest.fixture
def text_to_image(stage1, make_generator, make_data, make_trainer):
    """A trained DiT-T2I whose gates are open."""
    module = make_generator(stage1[0], dit=partial(DiTT2I, width=16, depth=1, num_heads=2))
    make_trainer(2).fit(module, datamodule=make_data())
    with torch.no_grad():
        for parameter in module.ema.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return module


def test_text_to_image_reads_the_caption_and_not_the_label(text_to_image):
    """The latents, before the detokenizer, which reads the caption anyway."""
    latents = []
    text_to_image.textok.decode = lambda values, text, label: latents.append(values) or torch.zeros(1, 3, 16, 16)
    for caption, label in (("a red star", 0), ("a red star", 3), ("a blue ring", 0)):
        text_to_image.generate([Request(index=0, label=label, caption=caption)])
    assert torch.equal(latents[0], latents[1])
    assert not torch.allclose(latents[0], latents[2], atol=1e-3)


def test_a_prompt_is_encoded_once_for_the_generator_and_the_detokenizer(text_to_image):
    asked = []
    text_to_image.text_encoder.register_forward_pre_hook(lambda module, args: asked.append(args[0]))
    text_to_image.generate([Request(index=0, caption="a red star")])
    assert asked == [["a red star"]]


def test_a_generator_may_read_captions_where_the_pair_does_not(
    make_tokenizer, make_generator, make_data, make_trainer, tmp_path
):
    plain = dict(tokenizer_conditioning=NoText, detokenizer_conditioning=NoText)
    pair = partial(TexTok, num_latents=4, patch_size=4, width=16, depth=1, num_heads=2, **plain)
    first, trainer = make_tokenizer(textok=pair), make_trainer(3)
    trainer.fit(first, datamodule=make_data())
    trainer.save_checkpoint(tmp_path / "step00000003.ckpt")
    second = make_generator(
        tmp_path / "step00000003.ckpt", textok=pair, dit=partial(DiTT2I, width=16, depth=1, num_heads=2)
    )
    assert not first.needs_text and second.needs_text
    make_trainer(1).fit(second, datamodule=make_data())
    assert second.generate([Request(index=0, caption="a red star")]).isfinite().all()
    assert second.flops_per_image() > 0


def test_predictions_of_text_to_image_are_of_the_pictures_captions(text_to_image, make_data):
    data = make_data()
    data.setup()
    batch = next(iter(data.predict_dataloader()))
    predicted = text_to_image.predict_step(batch, 0)["image"]

    def of(captions):
        rows = zip(batch.index.tolist(), batch.label.tolist(), captions)
        return to_uint8(text_to_image.generate([Request(*row, text_to_image.seed) for row in rows]))

    assert torch.equal(predicted, of(batch.caption))
    assert not torch.equal(predicted, of(reversed(batch.caption)))


def guided_by(checkpoint, network=None):
    """A sampler that is led away from the generator of a checkpoint."""
    from diffusers import DPMSolverMultistepScheduler

    return Sampler(DPMSolverMultistepScheduler(), 3, AutoGuidance(2.0, checkpoint, network))


def test_autoguidance_by_an_earlier_checkpoint(stage1, make_generator, make_data, make_trainer, tmp_path):
    bad, trainer = make_generator(stage1[0]), make_trainer(2)
    trainer.fit(bad, datamodule=make_data())
    trainer.save_checkpoint(tmp_path / "bad.ckpt")
    module = make_generator(stage1[0], sampler=guided_by(tmp_path / "bad.ckpt"))
    trainer = make_trainer(4)
    trainer.fit(module, datamodule=make_data())
    with torch.no_grad():
        for parameter in module.ema.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    guided = module.generate([Request(index=0, caption="")])
    # The bad network is in no state of the good one, and one and the same checkpoint samples without it.
    plain = make_generator(stage1[0])
    assert plain.state_dict().keys() == module.state_dict().keys()
    plain.load_state_dict(module.state_dict())
    plain.configure_model()
    assert not torch.allclose(plain.generate([Request(index=0, caption="")]), guided)
    assert len(list(module.parameters())) == len(list(plain.parameters()))


def test_a_guide_that_does_not_fit_is_refused_at_the_start(stage1, make_generator, make_data, make_trainer, tmp_path):
    trainer = make_trainer(1)
    trainer.fit(make_generator(stage1[0]), datamodule=make_data())
    trainer.save_checkpoint(tmp_path / "bad.ckpt")
    larger = partial(DiT, width=32, depth=1, num_heads=2)
    with pytest.raises(ValueError, match=r"bad\.ckpt is another network:\n  shape: "):
        make_trainer(1).fit(
            make_generator(stage1[0], sampler=guided_by(tmp_path / "bad.ckpt", larger)), datamodule=make_data()
        )
    with pytest.raises(ValueError, match="no stage-2 checkpoint"):
        make_trainer(1).fit(make_generator(stage1[0], sampler=guided_by(stage1[0])), datamodule=make_data())
    state = torch.load(tmp_path / "bad.ckpt", weights_only=True)
    state["state_dict"]["textok.tokenizer.queries"] += 1
    torch.save(state, tmp_path / "other.ckpt")
    with pytest.raises(ValueError, match="latents of another pair"):
        make_trainer(1).fit(
            make_generator(stage1[0], sampler=guided_by(tmp_path / "other.ckpt")), datamodule=make_data()
        )

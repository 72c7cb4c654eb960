"""One real training step of the paper's 256² configuration on a CPU: slow, and it tells what memory it took."""

import resource

import pytest
import torch
from lightning.pytorch import Trainer
from test_shipped_configs import TOKENIZER, parse


@pytest.fixture
def wide_t5(tmp_path):
    """A random two-layer T5 of T5-XL's width, 2048."""
    from transformers import ByT5Tokenizer, T5Config, T5EncoderModel

    config = T5Config(vocab_size=384, d_model=2048, d_kv=64, num_heads=2, d_ff=64, num_layers=2)
    T5EncoderModel(config).save_pretrained(tmp_path / "t5")
    ByT5Tokenizer().save_pretrained(tmp_path / "t5")
    return tmp_path / "t5"


@pytest.mark.slow
def test_imagenet256_textok32_takes_a_step(wide_t5, tmp_path, capsys):
    # LPIPS' weights are in no package: the perceptual term alone is left out.
    options = ["--model.init_args.perceptual=null", "--model.init_args.stage.start=0", "--data.init_args.batch_size=1"]
    options += [f"--model.init_args.text_encoder.init_args.name={wide_t5}"]
    options += ["--model.init_args.schedule.init_args.warmup_steps=0"]
    options += ["--model.init_args.discriminator_schedule.init_args.warmup_steps=0"]
    cli = parse([*TOKENIZER, "textok/n32.yaml"], *options, "--data.init_args.num_train=4")
    model = cli.build_model()
    before = model.textok.detokenizer.to_pixels.weight.detach().clone()
    data = cli.build_data()
    trainer = Trainer(
        accelerator="cpu",
        max_steps=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        limit_val_batches=0,
        log_every_n_steps=1,
        use_distributed_sampler=False,
        default_root_dir=tmp_path,
    )
    trainer.fit(model, datamodule=data)
    assert trainer.global_step == 1
    assert not torch.equal(model.textok.detokenizer.to_pixels.weight, before)
    assert {"train/r1", "train/lecam", "train/adversarial"} <= set(trainer.callback_metrics)
    with capsys.disabled():
        print(f"\npeak memory: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.2f} GiB")

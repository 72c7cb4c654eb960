"""Small real parts: a two-layer random T5 read from a folder, shapes of 16 pixels, and both stages built from them."""

from functools import partial

import pytest
import torch
from lightning.pytorch import Trainer

from textok.callbacks import EMA, AtomicCheckpointIO
from textok.datamodules import ShapesDataModule
from textok.diffusion import GaussianDiffusion, Sampler
from textok.losses import R1, LeCAM
from textok.models import DiT, StyleGANDiscriminator, T5TextEncoder, TexTok
from textok.modules import AdversarialStage, GeneratorModule, TokenizerModule
from textok.optim import WarmupCosine


@pytest.fixture
def make_data():
    def make(batch_size=4, **kwargs):
        return ShapesDataModule(
            **{"image_size": 16, "num_train": 32, "num_val": 6, "batch_size": batch_size, "seed": 0} | kwargs
        )

    return make


PAIR = partial(TexTok, num_latents=4, patch_size=4, width=16, depth=1, num_heads=2)


@pytest.fixture
def make_tokenizer(t5_folder):
    """Stage 1 with everything on: discriminator from step 1, R1, LeCAM."""

    def make(**kwargs):
        torch.manual_seed(0)
        choices = {
            "image_size": 16,
            "num_classes": 8,
            "textok": PAIR,
            "text_encoder": T5TextEncoder(str(t5_folder), num_tokens=24),
            "optimizer": partial(torch.optim.Adam, lr=1e-3),
            "schedule": partial(WarmupCosine, warmup_steps=2),
            "discriminator": partial(StyleGANDiscriminator, base_width=4, multipliers=(1, 2)),
            "discriminator_optimizer": partial(torch.optim.Adam, lr=1e-3, betas=(0.0, 0.99)),
            "discriminator_schedule": partial(WarmupCosine, warmup_steps=2),
            "r1": R1(),
            "lecam": LeCAM(),
            "stage": AdversarialStage(start=1),
        }
        return TokenizerModule(**choices | kwargs)

    return make


@pytest.fixture
def make_generator(t5_folder):
    def make(tokenizer_checkpoint=None, **kwargs):
        from diffusers import DPMSolverMultistepScheduler

        torch.manual_seed(0)
        choices = {
            "image_size": 16,
            "num_classes": 8,
            "textok": PAIR,
            "text_encoder": T5TextEncoder(str(t5_folder), num_tokens=24),
            "tokenizer_checkpoint": tokenizer_checkpoint,
            "dit": partial(DiT, width=16, depth=1, num_heads=2),
            "process": GaussianDiffusion(),
            "sampler": Sampler(DPMSolverMultistepScheduler(), num_steps=3),
            "optimizer": partial(torch.optim.AdamW, lr=1e-3),
            "schedule": WarmupCosine,
        }
        return GeneratorModule(**choices | kwargs)

    return make


@pytest.fixture
def make_trainer(tmp_path):
    def make(max_steps, **kwargs):
        choices = {
            "accelerator": "cpu",
            "max_epochs": -1,
            "max_steps": max_steps,
            "logger": False,
            "enable_checkpointing": False,
            "enable_progress_bar": False,
            "enable_model_summary": False,
            "num_sanity_val_steps": 0,
            "limit_val_batches": 0,
            "use_distributed_sampler": False,
            "log_every_n_steps": 1,
            "default_root_dir": tmp_path,
            "plugins": [AtomicCheckpointIO()],
            "callbacks": [EMA()],
        }
        return Trainer(**choices | kwargs)

    return make


def weights(module: torch.nn.Module) -> dict[str, torch.Tensor]:
    """A copy of a network's parameters and buffers."""
    return {name: value.clone() for name, value in module.state_dict().items()}


@pytest.fixture
def copy_weights():
    return weights


@pytest.fixture
def same_weights():
    """Whether two state dicts are equal bit for bit."""

    def same(a, b):
        assert a.keys() == b.keys()
        return all(torch.equal(a[name], b[name]) for name in a)

    return same

"""Small fits of both stages, on one process or on several that talk by gloo, and what came out of them."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.strategies import DDPStrategy
from ranks import on_ranks
from torch import nn
from torch.distributed.tensor import DTensor
from torch.utils._pytree import tree_map_only

from textok.callbacks import EMA, BackgroundCheckpointIO, Watchdog
from textok.callbacks.background import check_checkpoints
from textok.cli import main
from textok.datamodules import ShapesDataModule
from textok.diffusion import GaussianDiffusion, Sampler
from textok.losses import R1, LeCAM
from textok.models import DiT, KLBottleneck, StyleGANDiscriminator, T5TextEncoder, TexTok
from textok.modules import AdversarialStage, GeneratorModule, TokenizerModule
from textok.optim import WarmupCosine
from textok.strategies import FullySharded

STEPS = 4
PAIR = partial(TexTok, num_latents=4, patch_size=4, width=32, depth=2, num_heads=2, bottleneck=KLBottleneck)
WARMUP = partial(WarmupCosine, warmup_steps=2)
ADAM = partial(torch.optim.Adam, lr=1e-3, betas=(0.0, 0.99))


@dataclass
class Fit:
    """A fit to run.

    Args:
        t5: Folder of the text encoder.
        stage: tokenizer or generator.
        batch_size: Of a process.
        accumulate: Micro-batches of a step.
        strategy: Strategy of several processes; None is one process's.
        double: In float64 instead of float32.
        steps: Steps of the run.
        stop: Step at which it is cut short, with a checkpoint.
        resume: Checkpoint to go on from.
        save: Checkpoint to write at the end.
        trainer: Further settings of the trainer.
        choices: Further settings of the module.
        callbacks: Further callbacks; the held-out images are validated where there are any.
        uneven: Captions of which many are empty or the same: processes have unlike many to encode.
    """

    t5: Path
    stage: str = "tokenizer"
    batch_size: int = 4
    accumulate: int = 1
    strategy: Callable[[], Any] | None = None
    double: bool = True
    steps: int = STEPS
    stop: int | None = None
    resume: Path | None = None
    save: Path | None = None
    trainer: dict[str, Any] = field(default_factory=dict)
    choices: dict[str, Any] = field(default_factory=dict)
    callbacks: list[Callback] = field(default_factory=list)
    uneven: bool = False


@dataclass
class Result:
    """What a fit came to, on its first process.

    Args:
        losses: The logged terms of each step, means over the processes.
        state: Weights of all networks and averages, whole.
        optimizers: States of the optimisers, whole.
        sharded: Names of the parameters that were spread over the processes.
        text_share: Share of the text encoder's weights that the process holds.
    """

    losses: list[dict[str, float]]
    state: dict[str, torch.Tensor]
    optimizers: list[dict[str, Any]]
    sharded: list[str]
    text_share: float


class Curve(Callback):
    """Keeps the terms that were logged at each step, and stops where the fit is to be cut."""

    def __init__(self, stop: int | None) -> None:
        self.stop, self.losses, self.step = stop, [], None

    def on_train_start(self, trainer, module):
        self.step = trainer.global_step

    def on_train_batch_end(self, trainer, module, outputs, batch, batch_idx):
        if trainer.global_step == self.step:
            return
        self.step = trainer.global_step
        named = {name: float(v) for name, v in trainer.callback_metrics.items() if name.startswith("train/")}
        self.losses.append(named)
        if self.step == self.stop:
            trainer.should_stop = True


class Shapes(ShapesDataModule):
    """Images in torch's default type; with ``uneven`` most of the captions are empty or all the same."""

    uneven = False

    def on_after_batch_transfer(self, batch, dataloader_idx):
        batch = super().on_after_batch_transfer(batch, dataloader_idx)
        batch.image = batch.image.to(torch.get_default_dtype())
        if self.uneven:
            kinds = zip(batch.caption, batch.index.tolist())
            batch.caption = [("", "a shape", caption)[index % 3] for caption, index in kinds]
        return batch


def tokenizer_of(fit: Fit) -> TokenizerModule:
    """Stage 1 with everything on: discriminator, R1, LeCAM, KL, two clips."""
    choices = {
        "discriminator": partial(StyleGANDiscriminator, base_width=8, multipliers=(1, 2)),
        "discriminator_optimizer": ADAM,
        "discriminator_schedule": WARMUP,
        "r1": R1(every=2),
        "lecam": LeCAM(),
        "stage": AdversarialStage(start=1),
        "clip": 0.5,
        "discriminator_clip": 0.5,
    }
    return TokenizerModule(**shared(fit) | {"optimizer": ADAM, "schedule": WARMUP} | choices | fit.choices)


def generator_of(fit: Fit) -> GeneratorModule:
    """Stage 2 on a pair of random weights, with condition dropout and a clip."""
    from diffusers import DPMSolverMultistepScheduler

    module = GeneratorModule(
        **shared(fit)
        | {
            "tokenizer_checkpoint": None,
            "dit": partial(DiT, width=32, depth=2, num_heads=2),
            "process": GaussianDiffusion(),
            "sampler": Sampler(DPMSolverMultistepScheduler(), num_steps=2),
            "optimizer": partial(torch.optim.AdamW, lr=1e-3),
            "schedule": WARMUP,
            "clip": 0.5,
        }
        | fit.choices
    )
    if fit.resume is None and module.tokenizer_checkpoint is None:  # either brings it
        module.normalizer.std.fill_(0.7)  # as if stage 1 had been read
        module.normalizer.fitted.fill_(True)
    return module


def shared(fit: Fit) -> dict[str, Any]:
    text_encoder = T5TextEncoder(str(fit.t5), num_tokens=200)
    sizes = {"image_size": 16, "num_classes": 8, "seed": 0}
    return {**sizes, "textok": PAIR, "text_encoder": text_encoder, "accumulate": fit.accumulate}


def run(fit: Fit, devices: int = 1) -> Result:
    """Run a fit in this process; it is one of ``devices``."""
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    torch.set_default_dtype(torch.float64 if fit.double else torch.float32)
    try:
        torch.manual_seed(0)
        module = (tokenizer_of if fit.stage == "tokenizer" else generator_of)(fit)
        curve = Curve(fit.stop)
        trainer = Trainer(
            accelerator="cpu",
            devices=devices,
            strategy="auto" if fit.strategy is None else fit.strategy(),
            max_epochs=-1,
            max_steps=fit.steps,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            use_distributed_sampler=False,
            log_every_n_steps=1,
            **{
                "plugins": [BackgroundCheckpointIO()],
                "limit_val_batches": 1.0 if fit.callbacks else 0,
                "num_sanity_val_steps": 0,
            }
            | fit.trainer,
            callbacks=[EMA(), Watchdog(patience=2), curve, *fit.callbacks],
        )
        data = Shapes(image_size=16, num_train=64, num_val=4, batch_size=fit.batch_size, seed=0)
        data.uneven = fit.uneven
        trainer.fit(module, datamodule=data, ckpt_path=fit.resume)
        if fit.save is not None:
            trainer.save_checkpoint(fit.save)
            check_checkpoints(trainer, wait=True)
            trainer.strategy.barrier()
        state = trainer.strategy.lightning_module_state_dict()
        optimizers = [trainer.strategy.optimizer_state(optimizer) for optimizer in trainer.optimizers]
        state, optimizers = tree_map_only(DTensor, DTensor.full_tensor, (state, optimizers))
        state = {name: value.clone() for name, value in state.items() if value is not None}
        sharded = [name for name, value in module.named_parameters() if isinstance(value, DTensor)]
        return Result(curve.losses, state, optimizers, sharded, share_here(module.text_encoder.network))
    finally:
        torch.set_default_dtype(torch.float32)


def share_here(network: nn.Module) -> float:
    """Share of a network's weights that this process holds."""
    parameters = list(network.parameters())
    here = sum((p.to_local() if isinstance(p, DTensor) else p).numel() for p in parameters)
    return here / sum(p.numel() for p in parameters)


def run_on(ranks: int, fits: list[Fit], folder: Path) -> list[Result]:
    """Run fits one after another on several processes; the results are the first one's."""
    folder.mkdir(parents=True, exist_ok=True)
    on_ranks(ranks, _fits_of, ranks, fits, folder)
    return torch.load(folder / "results.pt", weights_only=False)


def _fits_of(rank: int, ranks: int, fits: list[Fit], folder: Path) -> None:
    results = [run(fit, ranks) for fit in fits]
    if rank == 0:
        torch.save(results, folder / "results.pt")


def ddp() -> DDPStrategy:
    """The strategy of configs/overlays/ddp.yaml."""
    return DDPStrategy(gradient_as_bucket_view=True)


def largest_differences(a: Result, b: Result) -> tuple[float, float]:
    """The largest relative difference of two runs' losses, and absolute one of their weights."""
    assert len(a.losses) == len(b.losses) and a.state.keys() == b.state.keys()
    # The deviation of a micro-batch's latents is shown and not minimised; a mean of deviations is no batch's.
    diagnostic = "train/latent_std"
    losses = 0.0
    for one, other in zip(a.losses, b.losses):
        assert one.keys() == other.keys()
        losses = max(
            losses, *(abs(one[name] - other[name]) / max(1.0, abs(one[name])) for name in one if name != diagnostic)
        )
    weights = max(float((a.state[name].double() - b.state[name].double()).abs().max()) for name in a.state)
    return losses, weights


def fsdp(save_sharded: bool = False) -> FullySharded:
    """The strategy of configs/overlays/fsdp.yaml."""
    return FullySharded(save_sharded)


def commands_on(ranks: int, commands: list[list[str]], folder: Path) -> list[int]:
    """Run command lines of textok one after another on several processes; the first one's exit codes."""
    on_ranks(ranks, _command_of, commands, folder)
    return json.loads((folder / "codes.json").read_text())


def _command_of(rank: int, commands: list[list[str]], folder: Path) -> None:
    codes = [main(command) for command in commands]
    if rank == 0:
        (folder / "codes.json").write_text(json.dumps(codes))

"""A training step without data, weights or memory: the module's own code on tensors that are only described.

Torch's fake tensors have shapes, types and storages but no bytes. The module's own ``micro_step`` runs on them under
Lightning's own precision, and ``LiveBytes`` follows what would be allocated; there is no formula to keep up to date.
The fake tensors say they are on a CPU, where attention is fused as it is on a GPU; on the meta device it is not, and
would keep a matrix of all pairs of tokens.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from jsonargparse import ArgumentParser, Namespace
from lightning.pytorch import Trainer
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

from textok.diffusion import LatentNormalizer, Sampler
from textok.frozen import Frozen
from textok.modules import AdversarialStage, GeneratorModule, TokenizerModule, TrainingModule
from textok.planning.live import LiveBytes
from textok.planning.outlines import give_outline
from textok.runs.parser import TextokCLI
from textok.types import Batch, Sizes, TextTokens

CPU = torch.device("cpu")
#: Weights in half precision alone: averages move by less than it can tell, and no fit accepts them.
HALVES = ("16-true", "bf16-true")


def build_on_meta(cli: TextokCLI) -> TrainingModule:
    """The module of a configuration, without memory for its weights.

    Raises:
        ValueError: If its choices do not fit each other.
    """
    choices = cli.config.model.init_args
    chosen = choices.get("sampler")
    try:
        if isinstance(chosen, Namespace):
            # Diffusers' schedulers compute their tables with numpy, which the meta device refuses.
            parser = ArgumentParser(exit_on_error=False)
            parser.add_argument("--sampler", type=Sampler)
            choices.sampler = parser.instantiate_classes(Namespace(sampler=chosen)).sampler
        with torch.device("meta"), warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="(?s).*Unable to serialize instance")
            return cli.build_model()
    finally:
        if chosen is not None:
            choices.sampler = chosen


def trainable(precision: str) -> str:
    """The precision itself, or the mixed one instead of a half precision alone, which no fit accepts."""
    return str(precision).replace("-true", "-mixed") if str(precision) in HALVES else str(precision)


@contextmanager
def rehearsal(module: TrainingModule, precision: str, max_steps: int) -> Iterator[LiveBytes]:
    """Put fake weights into a module from the meta device and connect a Trainer, so that ``step`` can run.

    Args:
        module: The module; its weights can be used no more afterwards.
        precision: One of Lightning's.
        max_steps: Length of the run, for its schedules.
    """
    perceptual = getattr(module, "perceptual", None)
    if perceptual is not None and not give_outline(perceptual):
        module.perceptual = None
    if isinstance(module, GeneratorModule):
        module.normalizer = some_normalizer(module.normalizer.mean.numel())
    with FakeTensorMode(allow_non_fake_inputs=True), LiveBytes() as live:
        _materialise(module)
        if isinstance(module, TokenizerModule):
            module.stage = AdversarialStage(start=0, adaptive=module.stage.adaptive)  # the step that needs most
        trainer = _trainer(precision, max_steps)
        module.trainer = trainer
        trainer.strategy.connect(trainer.precision_plugin.convert_module(module))
        yield live


def step(module: TrainingModule, batch: Batch, live: LiveBytes) -> tuple[int, int]:
    """Two steps, of which the second is like any later one: it finds the optimisers' state in place.

    Returns:
        Bytes of the optimisers' state, and the peak of the second step.
    """
    optimizers, _ = module.configure_optimizers()
    for _ in range(2):
        live.reset_peak()
        for _ in range(module.accumulate):
            with module.trainer.precision_plugin.train_step_context():
                module.micro_step(batch)
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad()
    state = [value for optimizer in optimizers for entry in optimizer.state.values() for value in entry.values()]
    return sum(value.nbytes for value in state if isinstance(value, torch.Tensor)), live.peak


def fake_batch(sizes: Sizes, batch_size: int, needs_text: bool) -> Batch:
    """A batch as the module gets it, with its text tokens at full length; inside a rehearsal."""
    text = None
    if needs_text:
        tokens = torch.empty(batch_size, sizes.num_text_tokens, sizes.text_dim)
        text = TextTokens(tokens, torch.empty(tokens.shape[:2], dtype=torch.bool))
    return Batch(
        index=torch.empty(batch_size, dtype=torch.int64),
        valid=torch.empty(batch_size, dtype=torch.bool),
        key=[""] * batch_size,
        image=torch.empty(batch_size, 3, sizes.image_size, sizes.image_size),
        caption=[""] * batch_size,
        label=torch.empty(batch_size, dtype=torch.int64),
        text=text,
    )


def some_normalizer(latent_dim: int) -> LatentNormalizer:
    """One that has been fitted, which a fake tensor could not tell."""
    normalizer = LatentNormalizer(latent_dim)
    normalizer.fit([torch.arange(2.0 * latent_dim).reshape(1, 2, latent_dim)])
    assert normalizer.is_fitted
    return normalizer


def _materialise(module: nn.Module) -> None:
    # Not ``to_empty``: it swaps tensors, which fake ones refuse.
    for part in module.modules():
        if isinstance(part, Frozen) and part.is_loaded:
            _materialise(part.network)
        for name, value in list(part.named_parameters(recurse=False)):
            fake = torch.empty(value.shape, dtype=value.dtype, device=CPU)
            setattr(part, name, nn.Parameter(fake, value.requires_grad))
        for name, value in list(part.named_buffers(recurse=False)):
            setattr(part, name, torch.empty(value.shape, dtype=value.dtype, device=CPU))
        if isinstance(part, TrainingModule):
            part._device = CPU  # Lightning follows ``to``, which would need weights


def _trainer(precision: str, max_steps: int) -> Trainer:
    quiet = logging.getLogger("lightning.pytorch")
    level = quiet.level
    quiet.setLevel(logging.ERROR)
    try:
        return Trainer(
            accelerator="cpu",
            devices=1,
            # What 16-mixed keeps is as large as what bf16-mixed keeps, and a CPU has only the second.
            precision="bf16-mixed" if precision == "16-mixed" else precision,
            max_steps=max_steps,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
    finally:
        quiet.setLevel(level)

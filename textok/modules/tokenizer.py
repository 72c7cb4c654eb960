"""Stage 1: train the pair with reconstruction, perceptual and adversarial losses (paper, section 3.2 and appendix).

Read ``micro_step`` top to bottom: it is the whole method.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from textok.losses import (
    R1,
    AdversarialLoss,
    L2Loss,
    LeCAM,
    NonSaturatingLoss,
    PerceptualLoss,
    ReconstructionLoss,
    adaptive_weight,
)
from textok.losses.precision import full
from textok.losses.ranks import broadcast_weights
from textok.models import Discriminator, TexTok
from textok.models.text_encoder import TextEncoder
from textok.modules.base import Schedule, TrainingModule
from textok.modules.flops import tokenizer_flops
from textok.modules.sharding import left_to_the_module
from textok.types import Batch, Sizes


@dataclass
class LossWeights:
    """Weights of the terms; a term is logged unweighted under its own name. The defaults are the paper's.

    Args:
        reconstruction: Of the pixel loss.
        perceptual: Of the perceptual loss.
        adversarial: Of the generator's adversarial loss.
        bottleneck: Of the bottleneck's penalty (KL, in nats an image); only some bottlenecks have one.
        r1: Of the gradient penalty, in the discriminator's loss.
        lecam: Of LeCAM's penalty, in the discriminator's loss.
    """

    reconstruction: float = 1.0
    perceptual: float = 0.1
    adversarial: float = 0.1
    bottleneck: float = 1e-6
    r1: float = 10.0
    lecam: float = 1e-4


@dataclass
class AdversarialStage:
    """When the discriminator plays and when it is heard.

    Args:
        start: Step at which the discriminator starts to train (80,000 in the paper).
        warmup: Further steps before the generator feels it, so that it first learns to tell.
        adaptive: Scale the adversarial term so that its gradient at the last layer is as large as the other terms'
            (VQGAN); not in the paper.
    """

    start: int = 80_000
    warmup: int = 0
    adaptive: bool = False

    def __post_init__(self) -> None:
        for name in ("start", "warmup"):
            if getattr(self, name) < 0:
                raise ValueError(f"stage.{name} must not be negative, got {getattr(self, name)}")


class TokenizerModule(TrainingModule):
    """Trains tokenizer and detokenizer, with a discriminator if one is given.

    Args:
        image_size: Height and width of the images; linked from the data.
        num_classes: Classes of the data; linked from the data.
        textok: Factory of the pair, called with the sizes.
        optimizer: Optimiser of the pair.
        schedule: Schedule of the pair's learning rate, called with the optimiser and the run's steps.
        text_encoder: Frozen encoder of the captions; null for a pair without text.
        discriminator: Factory of the discriminator, called with the sizes; null trains without one.
        discriminator_optimizer: Optimiser of the discriminator.
        discriminator_schedule: Schedule of the discriminator's learning rate, called with its optimiser and updates.
        reconstruction: Pixel loss.
        perceptual: Perceptual loss; null for none.
        adversarial: Type of the adversarial loss.
        r1: Gradient penalty of the discriminator; null for none.
        lecam: LeCAM regulariser of the discriminator; null for none.
        weights: Weights of the terms.
        stage: When the discriminator plays and when it is heard.
        accumulate: Micro-batches of a step.
        clip: Largest gradient norm of the pair; null does not clip.
        discriminator_clip: Largest gradient norm of the discriminator; null does not clip.
        seed: Seed of all noise; linked from ``seed_everything``.
        compile_blocks: Compile each transformer block; worth its start-up time on a GPU only.
        checkpoint_blocks: Keep only the input of each transformer block and compute its activations again on the way
            back: less memory, about a third more work.
        compile_backend: Backend of ``torch.compile``.
        shard_text_encoder: Spread the weights of the text encoder over the processes, for one that does not fit each
            device; only with configs/overlays/fsdp.yaml. Every chunk_size captions gather the weights once.
    """

    def __init__(
        self,
        image_size: int,
        num_classes: int,
        textok: Callable[[Sizes], TexTok],
        optimizer: Callable[[list], Optimizer],
        schedule: Schedule,
        text_encoder: TextEncoder | None = None,
        discriminator: Callable[[Sizes], Discriminator] | None = None,
        discriminator_optimizer: Callable[[list], Optimizer] | None = None,
        discriminator_schedule: Schedule | None = None,
        reconstruction: ReconstructionLoss | None = None,
        perceptual: PerceptualLoss | None = None,
        adversarial: AdversarialLoss | None = None,
        r1: R1 | None = None,
        lecam: LeCAM | None = None,
        weights: LossWeights | None = None,
        stage: AdversarialStage | None = None,
        accumulate: int = 1,
        clip: float | None = None,
        discriminator_clip: float | None = None,
        seed: int = 0,
        compile_blocks: bool = False,
        checkpoint_blocks: bool = False,
        compile_backend: str = "inductor",
        shard_text_encoder: bool = False,
    ) -> None:
        super().__init__(
            text_encoder,
            image_size,
            num_classes,
            accumulate,
            seed,
            compile_blocks,
            checkpoint_blocks,
            compile_backend,
            shard_text_encoder,
        )
        if discriminator is not None and (discriminator_optimizer is None or discriminator_schedule is None):
            raise ValueError("a discriminator needs discriminator_optimizer and discriminator_schedule")
        self.make_textok, self.make_discriminator = textok, discriminator
        self.textok = textok(self.sizes)
        self.ema = self.average_of(self.textok)
        self.discriminator = discriminator(self.sizes) if discriminator is not None else None
        self.optimizer, self.schedule, self.clip = optimizer, schedule, clip
        self.discriminator_optimizer, self.discriminator_schedule = discriminator_optimizer, discriminator_schedule
        self.discriminator_clip = discriminator_clip
        self.reconstruction = reconstruction or L2Loss()
        self.perceptual = perceptual
        self.adversarial = adversarial or NonSaturatingLoss()
        self.r1, self.lecam = r1, lecam
        self.weights = weights or LossWeights()
        self.stage = stage or AdversarialStage()
        self._logits: list[tuple[Tensor, Tensor]] = []
        self._flops: dict[bool, float] = {}

    @property
    def trained(self) -> nn.Module:
        return self.textok

    @property
    def discriminator_trains(self) -> bool:
        return self.discriminator is not None and self.global_step >= self.stage.start

    @property
    def discriminator_is_heard(self) -> bool:
        return self.discriminator is not None and self.global_step >= self.stage.start + self.stage.warmup

    def configure_model(self) -> None:
        super().configure_model()
        # A pair that is loaded to be used, without a trainer, needs no network of a loss.
        if self.perceptual is not None and self._trainer is not None:
            self.perceptual.load()
            self.perceptual.to(self.device)
        if self.discriminator is not None:
            left_to_the_module(self, self.discriminator)

    def setup(self, stage: str) -> None:
        super().setup(stage)
        if stage == "fit" and self.is_sharded and self.stage.adaptive:
            raise ValueError(
                "stage.adaptive needs the gradient at the pair's last layer, which a sharded pair has in parts: set "
                "stage.adaptive false, or use configs/overlays/ddp.yaml instead of fsdp.yaml"
            )

    def on_fit_start(self) -> None:
        if self.discriminator is not None:
            # As data-parallel training does with all that it averages: processes may have drawn other first weights.
            broadcast_weights(self.discriminator)

    def configure_optimizers(self):
        steps = self.trainer.max_steps
        parts = [(self.textok, self.optimizer, self.schedule, steps)]
        if self.discriminator is not None:
            # Its schedule spans its own updates; one that never plays in this run keeps the run's length.
            updates = steps - self.stage.start if self.stage.start < steps else steps
            parts.append((self.discriminator, self.discriminator_optimizer, self.discriminator_schedule, updates))
        return self.build_optimizers(parts)

    # ---------------------------------------------------------------- training

    def micro_step(self, batch: Batch) -> dict[str, Tensor]:
        image, text = batch.image, self.encode_text(batch)
        fake, latents, penalty = self.textok(image, text, batch.label)

        # The pair: the discriminator judges, and is not moved.
        terms = {"reconstruction": self.reconstruction(fake, image)}
        loss = self.weights.reconstruction * terms["reconstruction"] + self.weights.bottleneck * penalty
        if self.weights.bottleneck and penalty.requires_grad:
            terms["bottleneck"] = penalty
        if self.perceptual is not None:
            terms["perceptual"] = self.perceptual(fake, image)
            loss = loss + self.weights.perceptual * terms["perceptual"]
        if self.discriminator_is_heard:
            with untrained(self.discriminator):
                terms["adversarial"] = self.adversarial.generator(self.discriminator(fake))
            weight = self.weights.adversarial
            if self.stage.adaptive:
                terms["adaptive_weight"] = adaptive_weight(
                    loss, terms["adversarial"], self.textok.last_layer, scale=self._loss_scale()
                )
                weight = weight * terms["adaptive_weight"]
            loss = loss + weight * terms["adversarial"]
        self.backward_of(loss)

        # The discriminator: the same pictures, past the pair.
        if self.discriminator_trains:
            terms |= self._discriminator_terms(image, fake.detach())
        terms["latent_std"] = latents.detach().std(correction=0)  # of a single number 0, not NaN
        return {name: term.detach() for name, term in terms.items()}

    def _loss_scale(self) -> Tensor | float:
        return 1.0 if self.scaler is None else self.scaler.scale(torch.ones((), device=self.device))

    def _discriminator_terms(self, real: Tensor, fake: Tensor) -> dict[str, Tensor]:
        real_logits, fake_logits = self.discriminator(real), self.discriminator(fake)
        terms = {"discriminator": self.adversarial.discriminator(real_logits, fake_logits)}
        loss = terms["discriminator"]
        if self.lecam is not None:
            terms["lecam"] = self.lecam(real_logits, fake_logits)
            loss = loss + self.weights.lecam * terms["lecam"]
        if self.r1 is not None and self.r1.is_due(self.global_step):
            terms["r1"] = self.r1(self.discriminator, real)
            loss = loss + self.weights.r1 * self.r1.every * terms["r1"]
        self.backward_of(loss, replicated=True)
        real_logits, fake_logits = full(real_logits.detach()), full(fake_logits.detach())
        self._logits.append((real_logits, fake_logits))
        terms["discriminator_accuracy"] = 0.5 * ((real_logits > 0).float().mean() + (fake_logits < 0).float().mean())
        terms["logit_gap"] = real_logits.mean() - fake_logits.mean()
        return terms

    def finish_step(self) -> dict[str, Tensor]:
        # The discriminator first: the pair's update is the one that advances global_step.
        norms = {}
        if self._logits:
            norms["discriminator_grad_norm"] = self.prepare(1, self.discriminator, replicated=True)
        norms["grad_norm"] = self.prepare(0, self.textok)
        healthy = self.judge(norms)
        if self._logits:
            if self.lecam is not None:
                self.lecam.update(*(torch.cat(side) for side in zip(*self._logits, strict=True)), healthy)
            norm = norms["discriminator_grad_norm"]
            self.update(1, self.discriminator, self.discriminator_clip, norm, counts=False)
            self._logits = []
        self.update(0, self.textok, self.clip, norms["grad_norm"], counts=True)
        return norms

    # ---------------------------------------------------------------- evaluation

    @torch.no_grad()
    def reconstruct(self, images: Tensor, captions: list[str], labels: Tensor | None = None) -> Tensor:
        """Encode and decode (B, 3, H, W) images in [−1, 1] with the averaged weights; the same shape, not clamped."""
        return self.ema(images, self.encode_captions(captions), labels)[0]

    def validation_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        fake = self.ema(batch.image, self.encode_text(batch), batch.label)[0]
        count = int(batch.valid.sum())
        # A batch of nothing but padding counts for nothing, and yet is logged: the other ranks wait for its mean.
        rows = batch.valid if count else slice(None)
        image, shown = batch.image[rows], fake[rows]
        terms = {"reconstruction": self.reconstruction(shown, image)}
        if self.perceptual is not None:
            terms["perceptual"] = self.perceptual(shown, image)
        self.log_validation(terms, batch_size=count)
        return {"index": batch.index, "valid": batch.valid, "image": batch.image, "reconstruction": fake}

    test_step = validation_step

    def predict_step(self, batch: Batch, batch_idx: int) -> dict[str, object]:
        """Latents of the images, for a writer: a record of ``key``, ``valid``, ``index``, ``label`` and ``latents``."""
        latents = self.ema.encode(batch.image, self.encode_text(batch), batch.label)
        return {
            "key": batch.key,
            "valid": batch.valid,
            "index": batch.index,
            "label": batch.label,
            "latents": latents,
        }

    def flops_per_image(self) -> float:
        """Floating-point operations of a training step an image, both networks' forwards and backwards."""
        plays = self.discriminator_trains
        if plays not in self._flops:
            discriminator = self.make_discriminator if plays else None
            every = self.r1.every if self.r1 is not None else None
            self._flops[plays] = tokenizer_flops(self.sizes, self.make_textok, discriminator, every)
        return self._flops[plays]


@contextmanager
def untrained(module: nn.Module):
    """Let gradients pass through a module without reaching its parameters."""
    parameters = [parameter for parameter in module.parameters() if parameter.requires_grad]
    for parameter in parameters:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in parameters:
            parameter.requires_grad_(True)

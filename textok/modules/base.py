"""What both training stages share: a step that is one update, averages, and reproducible randomness."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from lightning.pytorch.core.optimizer import LightningOptimizer
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from textok.losses.precision import full
from textok.losses.ranks import average_gradients, mean_over_ranks
from textok.models.text_encoder import TextEncoder
from textok.modules.blocks import checkpoint_block, compile_block
from textok.modules.sharding import clip_gradients, gradient_norm, shard, unreduced
from textok.modules.text import TextModule
from textok.noise import rows_of
from textok.optim import parameter_groups
from textok.types import Batch, mix_seed

Schedule = Callable[[Optimizer, int], LRScheduler]


class TrainingModule(TextModule):
    """Base of both stages: manual optimisation in which one step is one update of ``accumulate`` micro-batches.

    A subclass sets ``self.textok`` and ``self.ema`` and implements ``trained`` and ``micro_step``.

    Args:
        text_encoder: Frozen encoder of the captions.
        image_size: Height and width of the images.
        num_classes: Classes of the data.
        accumulate: Micro-batches of a step.
        seed: Seed of all noise; a step draws from (seed, step) for its whole batch, each rank keeps its own rows.
        compile_blocks: Compile each transformer block; worth its start-up time on a GPU only.
        checkpoint_blocks: Keep only the input of each transformer block and compute its activations again on the way
            back: less memory, about a third more work.
        compile_backend: Backend of ``torch.compile``.
        shard_text_encoder: Spread the weights of the text encoder over the processes, for one that does not fit each
            device; only with configs/overlays/fsdp.yaml. Every chunk_size captions gather the weights once.
    """

    #: Lightning would count every optimiser's step; we step by hand (design: a step is one generator update).
    automatic_optimization = False

    ema: nn.Module

    def __init__(
        self,
        text_encoder: TextEncoder | None,
        image_size: int,
        num_classes: int,
        accumulate: int,
        seed: int,
        compile_blocks: bool,
        checkpoint_blocks: bool = False,
        compile_backend: str = "inductor",
        shard_text_encoder: bool = False,
    ) -> None:
        super().__init__(text_encoder, image_size, num_classes, shard_text_encoder)
        if accumulate < 1:
            raise ValueError(f"accumulate must be at least 1, got {accumulate}")
        self.accumulate = accumulate
        self.seed = seed
        self.compile_blocks, self.compile_backend = compile_blocks, compile_backend
        self.checkpoint_blocks = checkpoint_blocks
        self._configured = False
        self._micro = 0
        self._terms: dict[str, Tensor] = {}
        # The last value of each term since the last log: a lazy penalty is not paid at every step.
        self._latest: dict[str, Tensor] = {}
        #: Terms and gradient norms of the last step, for a diagnosis.
        self.last_step: dict[str, Tensor] = {}
        #: (2,) steps whose update was skipped, in a row until now and in all; the checkpoint has them.
        self.register_buffer("skipped_steps", torch.zeros(2, dtype=torch.int64), persistent=False)
        self._healthy = torch.tensor(True)

    # ---------------------------------------------------------------- set-up

    @property
    def trained(self) -> nn.Module:
        """The network whose weights are averaged."""
        raise NotImplementedError

    @staticmethod
    def average_of(network: nn.Module) -> nn.Module:
        """A replica of the network for its averaged weights; it is never trained and always evaluates.

        It is a module of its own, rather than weights that are swapped in for validation, so nothing ever has to be
        swapped back and a checkpoint cannot catch it half-way.
        """
        return copy.deepcopy(network).requires_grad_(False).eval()

    def configure_model(self) -> None:
        super().configure_model()
        if self._configured:
            return  # once: this hook is called for every fit, validate, …
        self._configured = True
        for block in self.blocks():
            if self.compile_blocks:
                compile_block(block, self.compile_backend)
            if self.checkpoint_blocks:
                checkpoint_block(block)
        if self.is_sharded:
            for network, learns in ((self.trained, True), (self.ema, False)):
                shard(network.units(), self.device_mesh["data_parallel"], learns)

    def blocks(self) -> Iterator[nn.Module]:
        """The transformer blocks to compile."""
        return self.textok.blocks()

    def setup(self, stage: str) -> None:
        if self.trainer.precision == "16-true":
            raise ValueError(
                "trainer.precision 16-true rounds small updates away: use bf16-mixed, or 16-mixed, which scales losses"
            )
        if self.trainer.precision == "16-mixed" and self.is_sharded:
            raise ValueError(
                "trainer.precision 16-mixed cannot be used with sharded weights, whose gradients no scaler sees as a "
                "whole: use bf16-mixed, or configs/overlays/ddp.yaml instead of fsdp.yaml"
            )
        if stage == "fit" and self.shard_text_encoder and not self.is_sharded:
            raise ValueError(
                "shard_text_encoder spreads the text encoder as FSDP spreads weights, and this strategy spreads none: "
                "add -c configs/overlays/fsdp.yaml, or set model.init_args.shard_text_encoder false"
            )
        if stage == "fit" and self.trainer.max_steps < 1:
            raise ValueError(f"trainer.max_steps must be set (schedules end there), got {self.trainer.max_steps}")
        super().setup(stage)

    def train(self, mode: bool = True) -> TrainingModule:
        """Switch the trained networks; the averages always evaluate."""
        super().train(mode)
        self.ema.eval()
        return self

    # ---------------------------------------------------------------- a step

    def micro_step(self, batch: Batch) -> dict[str, Tensor]:
        """Accumulate the gradients of one micro-batch and return its unweighted, detached terms."""
        raise NotImplementedError

    def finish_step(self) -> dict[str, Tensor]:
        """Update the weights from the accumulated gradients and return what there is to log about it."""
        raise NotImplementedError

    def training_step(self, batch: Batch, batch_idx: int) -> None:
        # All noise of a step comes from here: a resumed run draws what the first one did. What textok.noise draws is
        # the picture's, whoever holds it; whatever else draws, in a plug-in say, differs between ranks and parts.
        torch.manual_seed(mix_seed(self.seed, self.global_step, self._micro, self.global_rank))
        parts, part = self.accumulate * self.trainer.world_size, self._micro * self.trainer.world_size
        first, count = (part + self.global_rank) * len(batch), len(batch)
        with rows_of(first, count, parts * count, mix_seed(self.seed, self.global_step)):
            terms = self.micro_step(batch)
        for name, value in terms.items():
            self._terms[name] = self._terms.get(name, 0.0) + value / self.accumulate
        self._micro += 1
        # The data is one endless stream: a step may take its micro-batches from two epochs, and none is dropped.
        if self._micro == self.accumulate:
            self.last_step = self._terms | self.finish_step()
            self._latest |= self.last_step
            self._micro, self._terms = 0, {}
            self._log_step()

    def backward_of(self, loss: Tensor, replicated: bool = False) -> None:
        """Accumulate the gradients of a micro-batch's loss.

        Args:
            loss: The scalar loss of this rank's micro-batch.
            replicated: It trains a network that the strategy knows nothing of; ``prepare`` averages its gradients.
        """
        # Gradients are averaged over the ranks in the last micro-batch's pass, while it still runs.
        last = self._micro + 1 == self.accumulate
        with nullcontext() if last and not replicated else unreduced(self.trainer.model):
            self.manual_backward(loss / self.accumulate)

    @property
    def scaler(self) -> torch.amp.GradScaler | None:
        """The gradient scaler of 16-mixed."""
        return getattr(self.trainer.precision_plugin, "scaler", None)

    def prepare(self, index: int, network: nn.Module, replicated: bool = False) -> Tensor:
        """Make a network's gradients those of the whole batch, in their own scale, and return their norm ().

        Args:
            index: Which of ``configure_optimizers``' optimisers moves it.
            network: The network.
            replicated: As in :meth:`backward_of`.
        """
        if replicated:
            average_gradients(network.parameters())
        if self.scaler is not None:
            self.scaler.unscale_(self._all_optimizers()[index].optimizer)
        return gradient_norm(network)

    def judge(self, norms: dict[str, Tensor]) -> Tensor:
        """Decide on all ranks whether this step may move anything: its terms and gradient norms are finite everywhere.

        A step that is skipped is still a step: its number, its data and the schedules go on, so that a resumed run
        meets the same batches at the same steps. All networks skip it together.

        Args:
            norms: The gradient norms of the networks that the step would move.

        Returns:
            () bool on the device, the verdict that the following calls of :meth:`update` obey.
        """
        values = [value.detach().float() for value in (*self._terms.values(), *norms.values())]
        finite = torch.stack(values).isfinite().all()
        self._healthy = mean_over_ranks(finite.float()) == 1
        # Counted on the device: nobody waits for it here. A callback reads the counts now and then.
        skipped = (~self._healthy).long()
        self.skipped_steps.add_(skipped)
        self.skipped_steps[0].mul_(skipped)
        return self._healthy

    def update(self, index: int, network: nn.Module, clip: float | None, norm: Tensor, counts: bool) -> None:
        """Clip, step optimiser ``index`` unless the step is skipped, step its schedule, clear the gradients.

        Args:
            index: Which of ``configure_optimizers``' optimisers.
            network: The network it moves.
            clip: Largest gradient norm, or None.
            norm: The network's gradient norm, one of those that :meth:`judge` saw.
            counts: Whether this update advances ``global_step``.
        """
        optimizer = self._all_optimizers()[index]
        if clip is not None:
            clip_gradients(network, clip, norm)
        # A fused optimiser takes the verdict on the device, as a gradient scaler hands it over: weights, moments and
        # its count of steps stay as they were, and the host does not wait for the device. The others cannot; for them
        # the host reads the verdict once a step, and without gradients they move nothing.
        fused = getattr(optimizer.optimizer, "_step_supports_amp_scaling", False)
        if fused:
            optimizer.optimizer.found_inf = (~self._healthy).float()
        elif not self._healthy:
            optimizer.zero_grad()
        with self._without_scaler():
            if counts:
                optimizer.step()
            else:
                # Lightning counts the steps of every LightningOptimizer; past it, this one does not count (#17958).
                self.trainer.strategy.optimizer_step(optimizer.optimizer, closure=lambda: None)
        if counts and self.scaler is not None:
            self.scaler.update()  # once a step, by what it saw in all networks' gradients
        if fused:
            del optimizer.optimizer.found_inf
        self.trainer.lr_scheduler_configs[index].scheduler.step()
        optimizer.zero_grad()

    @contextmanager
    def _without_scaler(self) -> Iterator[None]:
        """Step an optimiser without Lightning's scaling: it would unscale again and change the scale between two
        optimisers of one step, whose gradients share it."""
        plugin, scaler = self.trainer.precision_plugin, self.scaler
        if scaler is None:
            yield
            return
        plugin.scaler = None
        try:
            yield
        finally:
            plugin.scaler = scaler

    def _all_optimizers(self) -> list[LightningOptimizer]:
        # ``optimizers()`` unwraps a list of one.
        optimizers = self.optimizers()
        return optimizers if isinstance(optimizers, list) else [optimizers]

    def build_optimizers(
        self, parts: list[tuple[nn.Module, Callable[..., Optimizer], Schedule, int]]
    ) -> tuple[list[Optimizer], list[dict[str, Any]]]:
        """Optimisers and schedules in Lightning's form; a schedule is stepped by :meth:`update`, once an update.

        Args:
            parts: Network, optimiser, schedule, and the updates that the network will get.
        """
        optimizers, schedules = [], []
        for network, make_optimizer, make_schedule, num_updates in parts:
            optimizers.append(make_optimizer(parameter_groups(network)))
            schedules.append({"scheduler": make_schedule(optimizers[-1], num_updates), "interval": "step"})
        return optimizers, schedules

    # ---------------------------------------------------------------- logging

    def _log_step(self) -> None:
        """Log the latest terms as ``train/<term>`` against the number of steps, not of batches."""
        if self.global_step % self.trainer.log_every_n_steps:
            return
        terms, self._latest = self._over_ranks(self._latest), {}
        rates = {
            name: optimizer.param_groups[0]["lr"]
            for name, optimizer in zip(("learning_rate", "discriminator_learning_rate"), self._all_optimizers())
        }
        values = {f"train/{name}": value for name, value in (terms | rates).items()}
        values["train/skipped_steps"] = self.skipped_steps[1].float()
        for logger in self.loggers:
            logger.log_metrics({k: float(v) for k, v in values.items()}, step=self.global_step)
        # The progress bar and the callbacks read these; the loggers have them already.
        self.log_dict(values, logger=False)

    @staticmethod
    def _over_ranks(terms: dict[str, Tensor]) -> dict[str, Tensor]:
        """Means over the ranks, in one go: a curve is that of the whole batch."""
        values = mean_over_ranks(torch.stack([full(value) for value in terms.values()])) if terms else []
        return dict(zip(terms, values))

    def log_validation(self, values: dict[str, Tensor], batch_size: int) -> None:
        """Collect means over the validation images as ``val/<name>``; a callback hands them to the loggers.

        Every rank calls this for each of its batches, also where none of a batch's images counts (``batch_size`` 0).
        """
        stage = "test" if self.trainer.testing else "val"
        # The mean of no images may be NaN, which no weight takes out of a sum.
        named = {f"{stage}/{name}": value if batch_size else torch.zeros_like(value) for name, value in values.items()}
        self.log_dict(named, batch_size=batch_size, sync_dist=True, logger=False)

    # ---------------------------------------------------------------- checkpoint

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["skipped_steps"] = self.skipped_steps.tolist()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.skipped_steps.copy_(torch.tensor(checkpoint.get("skipped_steps", (0, 0))))  # older checkpoints have none

"""Stage 2: train a diffusion transformer on the latents of the frozen pair (paper, section 3.3).

The class (or text) goes to the DiT, the caption to both halves of the pair: a sample of a class is decoded with a
caption drawn from that class's list.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from textok.diffusion import DiffusionProcess, Generation, LatentNormalizer, Sampler
from textok.diffusion.guidance import DenoiserFactory
from textok.models import DiT, TexTok
from textok.models.state import fingerprint
from textok.models.text_encoder import TextEncoder
from textok.modules.base import Schedule, TrainingModule
from textok.modules.class_captions import read_class_captions
from textok.modules.flops import generator_flops
from textok.modules.guide import Guide
from textok.modules.weights import load_averaged_generator, load_averaged_pair
from textok.noise import uniform_rows
from textok.types import Batch, Condition, Request, ServesLatents, Sizes, TextTokens, mix_seed, to_uint8


class GeneratorModule(TrainingModule):
    """Trains a DiT on normalised latents of a frozen pair, and samples pictures from it.

    Args:
        image_size: Height and width of the images; linked from the data.
        num_classes: Classes of the data; linked from the data.
        textok: Factory of the pair, the same fragment as in stage 1.
        tokenizer_checkpoint: Checkpoint of stage 1, or its run folder; its averaged weights are read at a fresh start.
        dit: Factory of the generator, called with num_latents, latent_dim, out_dim and the sizes.
        process: What is learned: noise schedule, target and loss.
        sampler: How pictures are made from it.
        optimizer: Optimiser of the DiT.
        schedule: Schedule of its learning rate, called with the optimiser and the run's steps.
        text_encoder: Frozen encoder of the captions; null for a pair without text.
        condition_dropout: Share of the samples that train without their condition, for guidance.
        normalizer_batches: Shuffled training batches, at most an epoch, to measure the latents' mean and deviation on.
        accumulate: Micro-batches of a step.
        clip: Largest gradient norm; null does not clip.
        class_captions: JSON file with the captions that a sample of each class may be decoded with, as
            ``textok bank classes`` writes it; null takes those of the data.
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
        tokenizer_checkpoint: Path | None,
        dit: Callable[[int, int, int, Sizes], DiT],
        process: DiffusionProcess,
        sampler: Sampler,
        optimizer: Callable[[list], Optimizer],
        schedule: Schedule,
        text_encoder: TextEncoder | None = None,
        condition_dropout: float = 0.1,
        normalizer_batches: int = 200,
        accumulate: int = 1,
        clip: float | None = None,
        class_captions: Path | None = None,
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
        if not 0 <= condition_dropout < 1:
            raise ValueError(f"condition_dropout must lie in [0, 1), got {condition_dropout}")
        if normalizer_batches < 1:
            raise ValueError(f"normalizer_batches must be at least 1, got {normalizer_batches}")
        sampler.check(process)
        self.make_textok, self.make_dit = textok, dit
        self.tokenizer_checkpoint = tokenizer_checkpoint
        self.process, self.sampler = process, sampler
        self.textok = textok(self.sizes).requires_grad_(False).eval()
        self.dit = self._dit_for(self.textok)
        self.ema = self.average_of(self.dit)
        self.normalizer = LatentNormalizer(self.textok.latent_dim)
        self.normalizer_batches = normalizer_batches
        self.optimizer, self.schedule, self.clip = optimizer, schedule, clip
        self.condition_dropout = condition_dropout
        self._flops: float | None = None
        self._has_begun = False
        #: Captions that a sample of a class may be decoded with, and the classes' names; kept in the checkpoint.
        self.class_captions: list[list[str]] = []
        self.class_captions_file = class_captions
        self.class_names: list[str] = []

    def _dit_for(self, textok: TexTok, make: DenoiserFactory | None = None) -> nn.Module:
        dim = textok.latent_dim
        return (make or self.make_dit)(textok.num_latents, dim, self.process.out_dim(dim), self.sizes)

    @property
    def trained(self) -> nn.Module:
        return self.dit

    @property
    def needs_text(self) -> bool:
        return self.textok.needs_text or self.dit.needs_text

    def blocks(self):
        yield from self.dit.blocks

    def train(self, mode: bool = True) -> GeneratorModule:
        super().train(mode)
        self.textok.eval()
        return self

    def configure_optimizers(self):
        return self.build_optimizers([(self.dit, self.optimizer, self.schedule, self.trainer.max_steps)])

    # ---------------------------------------------------------------- before the first step

    def on_fit_start(self) -> None:
        # A strategy that shards reads the checkpoint of a resumed run behind this hook, and tells of none before.
        self._has_begun = False
        if not self.trainer.strategy.restore_checkpoint_after_setup:
            self._begin()

    def on_validation_start(self) -> None:
        if self.trainer.sanity_checking and not self._has_begun:
            self._begin()

    def on_train_start(self) -> None:
        if not self._has_begun:
            self._begin()

    def _begin(self) -> None:
        self._has_begun = True
        # A stage-2 checkpoint brings the pair, the normaliser and the captions: stage 1 is read at a fresh start only.
        if self.normalizer.is_fitted:
            self._check_latents()
        else:
            self._start_afresh()
        self.sampler.guidance.load(self._read_guide)

    def _start_afresh(self) -> None:
        if self.tokenizer_checkpoint is None:
            raise ValueError(
                "model.init_args.tokenizer_checkpoint is not set: give the run folder or checkpoint of stage 1"
            )
        load_averaged_pair(self.textok, self.tokenizer_checkpoint)
        self._check_latents()
        if self.class_captions_file is None:
            self.class_captions = self.trainer.datamodule.class_captions()
        else:
            self.class_captions = read_class_captions(self.class_captions_file, self.sizes.num_classes)
        self.class_names = list(self.trainer.datamodule.class_names)
        self._fit_normalizer()

    def _read_guide(self, checkpoint: Path, network: DenoiserFactory | None) -> Guide:
        """The averaged generator of another checkpoint, for the guidance rules that need a second network."""
        dit = self._dit_for(self.textok, network)
        load_averaged_generator(dit, self.textok, checkpoint)
        return Guide(dit).to(self.device)

    def _check_latents(self) -> None:
        """Refuse latents from a cache that another pair made."""
        data = self.trainer.datamodule
        if isinstance(data, ServesLatents):
            data.check_pair(fingerprint(self.textok.state_dict()))

    @torch.no_grad()
    def _fit_normalizer(self) -> None:
        """Measure mean and deviation of the latents on training images as training sees them: shuffled and varied.

        A shuffled part stands for the whole, where the first part of data sorted by class would not. The loader is one
        of its own, so that the order of training does not depend on it.
        """
        data = self.trainer.datamodule

        def latents():
            for batch in islice(data.train_dataloader(), self.normalizer_batches):
                batch = self.trainer.strategy.batch_to_device(batch)
                batch = data.on_after_batch_transfer(batch, 0)
                yield self._encode(batch, self._text_for(batch))[batch.valid]

        self.normalizer.fit(latents())

    @property
    def encodes_batches(self) -> bool:
        latents_are_cached = isinstance(getattr(self._trainer, "datamodule", None), ServesLatents)
        return super().encodes_batches and (self.dit.needs_text or not latents_are_cached)

    def _text_for(self, batch: Batch) -> TextTokens | None:
        """Text tokens of a batch, unless nobody reads them: latents are cached and the generator knows classes only."""
        return self.encode_text(batch) if batch.latents is None or self.dit.needs_text else None

    def _encode(self, batch: Batch, text: TextTokens | None) -> Tensor:
        if batch.latents is not None:
            return batch.latents
        return self.textok.encode(batch.image, text, batch.label)

    # ---------------------------------------------------------------- training

    def micro_step(self, batch: Batch) -> dict[str, Tensor]:
        terms = self._terms_of(batch, dropout=self.condition_dropout, network=self.dit)
        self.backward_of(sum(terms.values()))
        return {name: term.detach() for name, term in terms.items()}

    def _terms_of(self, batch: Batch, dropout: float, network: nn.Module) -> dict[str, Tensor]:
        text = self._text_for(batch)
        with torch.no_grad():
            latents = self.normalizer.normalize(self._encode(batch, text))
        drop = uniform_rows(latents) < dropout
        condition = Condition(label=batch.label, text=text, drop=drop)
        return self.process.loss(network, latents, condition, batch.valid)

    def finish_step(self) -> dict[str, Tensor]:
        norms = {"grad_norm": self.prepare(0, self.dit)}
        self.judge(norms)
        self.update(0, self.dit, self.clip, norms["grad_norm"], counts=True)
        return norms

    # ---------------------------------------------------------------- evaluation

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        # The same noise at every validation, so that the curve moves by the weights alone.
        with torch.random.fork_rng(devices=[self.device] if self.device.type == "cuda" else []):
            torch.manual_seed(mix_seed(self.seed, batch_idx, self.global_rank))
            terms = self._terms_of(batch, dropout=0.0, network=self.ema)
        self.log_validation(terms, batch_size=int(batch.valid.sum()))

    test_step = validation_step

    @torch.no_grad()
    def reconstruct(self, images: Tensor, captions: list[str], labels: Tensor | None = None) -> Tensor:
        """Encode and decode (B, 3, H, W) images in [−1, 1] by the frozen pair."""
        return self.textok(images, self.encode_captions(captions), labels)[0]

    @property
    def generation(self) -> Generation:
        """How this run makes pictures: with the averaged weights."""
        self.sampler.guidance.load(self._read_guide)
        return Generation(
            self.textok,
            self.ema,
            self.process,
            self.sampler,
            self.normalizer,
            self.encode_captions,
            self.sizes.num_classes,
            self.class_captions,
        )

    def generate(self, requests: list[Request]) -> Tensor:
        """Make one picture a request, (B, 3, H, W) in about [−1, 1]; it depends on its request alone."""
        return self.generation(requests)

    def predict_step(self, batch: Batch, batch_idx: int) -> dict[str, object]:
        """A sample for every image's label, or its caption where the generator reads text; as bytes, for a writer."""
        captions = batch.caption if self.dit.needs_text else [None] * len(batch)
        rows = zip(batch.index, batch.label, captions, strict=True)
        requests = [Request(int(index), int(label), caption, self.seed) for index, label, caption in rows]
        return {
            "key": batch.key,
            "valid": batch.valid,
            "index": batch.index,
            "label": batch.label,
            "image": to_uint8(self.generate(requests)),
        }

    def flops_per_image(self) -> float:
        """Floating-point operations of a training step an image."""
        if self._flops is None:
            self._flops = generator_flops(self.sizes, self.make_textok, self._dit_for)
        return self._flops

    # ---------------------------------------------------------------- checkpoint

    def on_save_checkpoint(self, checkpoint: dict) -> None:
        super().on_save_checkpoint(checkpoint)
        checkpoint["class_captions"] = self.class_captions
        checkpoint["class_names"] = self.class_names

    def on_load_checkpoint(self, checkpoint: dict) -> None:
        super().on_load_checkpoint(checkpoint)
        self.class_captions = checkpoint["class_captions"]
        self.class_names = checkpoint.get("class_names", [])  # older checkpoints have none

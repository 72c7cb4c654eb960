"""``TexTokPipeline``: encode, decode, reconstruct and generate with a trained model."""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from textok.diffusion import ClassifierFreeGuidance, Generation, Sampler
from textok.models.state import fingerprint
from textok.pipeline.card import write_card
from textok.pipeline.folder import find_folder, read_folder, write_folder
from textok.pipeline.images import Output, Picture, from_batch, to_batch
from textok.pipeline.memory import batch_size_for, bytes_per_image
from textok.pipeline.networks import Description, Networks
from textok.pipeline.requests import checked_captions, checked_prompts, label_of
from textok.types import Request, TextTokens

Pictures = list[Image.Image] | np.ndarray | Tensor
Captions = str | Sequence[str] | None


class TexTokPipeline:
    """A pair, and a generator where there is one, with all that they need to serve people.

    Args:
        description: What the networks are.
        networks: The networks, with their weights.
        class_captions: Captions that a sample of each class may be decoded with.
        numbers: What the training run measured, for the model card.
        memory: GiB that one batch may take beside the weights; calls are cut into batches of that size.
    """

    def __init__(
        self,
        description: Description,
        networks: Networks,
        class_captions: Sequence[Sequence[str]] = (),
        numbers: Mapping[str, float | None] | None = None,
        memory: float = 2.0,
    ) -> None:
        self.description, self.networks = description, networks
        self.class_captions = class_captions
        self.numbers = dict(numbers or {})
        self.batch_size = batch_size_for(memory, bytes_per_image(networks.pair, networks.dit))

    @classmethod
    def from_pretrained(
        cls,
        name: str | Path,
        device: torch.device | str = "cpu",
        revision: str | None = None,
        trusted: Sequence[str] = (),
        memory: float = 2.0,
    ) -> TexTokPipeline:
        """Load what ``save_pretrained``, ``push_to_hub`` or ``textok export`` wrote.

        Args:
            name: A folder, or a model's name on the hub.
            device: Where to compute.
            revision: Branch, tag or commit of the hub.
            trusted: Packages beside textok and diffusers whose classes the model may name.
            memory: GiB that one batch may take beside the weights.

        Raises:
            ValueError: If there is no such model, or its files do not fit together.
        """
        folder = find_folder(name, revision)
        description, state, class_captions = read_folder(folder)
        with torch.random.fork_rng():  # initial weights, about to be replaced, take none of the caller's random numbers
            try:
                networks = Networks(description, trusted)
                networks.load(state)
            except ValueError as error:
                raise ValueError(f"{folder} cannot be used: {error}") from error
        return cls(description, networks.to(device), class_captions, memory=memory)

    def to(self, device: torch.device | str) -> TexTokPipeline:
        """Move the networks."""
        self.networks.to(device)
        return self

    def compile(self) -> TexTokPipeline:
        """Compile every transformer block; worth its start-up time on a GPU and for many pictures only."""
        for block in (*self.networks.pair.blocks(), *(self.networks.dit.blocks if self.networks.dit else ())):
            block.compile()
        return self

    def save_pretrained(self, folder: str | Path) -> None:
        """Write ``config.json``, ``model.safetensors``, ``class_captions.json`` and the model card.

        The text encoder's own weights are not copied: its name or path is kept.

        Raises:
            ValueError: If the folder holds something else.
        """
        self._write(Path(folder).expanduser(), Path(folder).name)

    def push_to_hub(self, repo_id: str, private: bool | None = None, commit_message: str = "Upload model") -> str:
        """Upload the files of ``save_pretrained``, with the login of huggingface_hub.

        Returns:
            The address of the commit.

        Raises:
            ValueError: If the hub refuses, for want of a login as a rule.
        """
        from huggingface_hub import HfApi
        from huggingface_hub.errors import HfHubHTTPError

        api = HfApi()
        try:
            name = api.create_repo(repo_id, private=private, exist_ok=True).repo_id
            with tempfile.TemporaryDirectory() as folder:
                self._write(Path(folder), name)
                return str(api.upload_folder(repo_id=name, folder_path=folder, commit_message=commit_message))
        except HfHubHTTPError as error:
            reason = " ".join(str(error).split())[:200]
            raise ValueError(f"the hub does not take {repo_id}: {reason} (hf auth login logs in)") from error

    def _write(self, folder: Path, name: str) -> None:
        card = write_card(self.networks, self.numbers, name)
        write_folder(folder, self.description, self.networks.state_dict(), self.class_captions, card)

    @property
    def pair_sha256(self) -> str:
        """A fingerprint of the pair's weights: latents belong to the pair that made them."""
        return fingerprint(self.networks.pair.state_dict())

    @property
    def weights_sha256(self) -> str:
        """A fingerprint of all weights: samples belong to the model that made them."""
        return fingerprint(self.networks.state_dict())

    # ---------------------------------------------------------------- the pair

    @torch.no_grad()
    def encode(
        self,
        images: Picture | Sequence[Picture],
        captions: Captions = None,
        labels: Sequence[int] | None = None,
        cut: bool = False,
    ) -> Tensor:
        """Pictures → latents (B, K, Z), float32 on the CPU.

        Args:
            images: One or several: PIL images, uint8 arrays (H, W, 3) or (B, H, W, 3), tensors (3, H, W) or
                (B, 3, H, W), uint8 or float in [−1, 1]; other sizes are cropped and resized.
            captions: One for each, one for all, or none.
            labels: Class labels, for a pair that reads them.
            cut: Cut a caption that is too long, instead of refusing it.

        Raises:
            ValueError: If a picture or a caption does not fit.
        """
        batch = to_batch(images, self.networks.pair.sizes.image_size)
        rows, label = self._captions(captions, len(batch), cut), self._labels(labels, len(batch))
        device = self.networks.device
        parts = [
            self.networks.pair.encode(batch[s].to(device), self._text(rows[s]), None if label is None else label[s])
            for s in self._slices(len(batch))
        ]
        return torch.cat(parts).float().cpu()

    @torch.no_grad()
    def decode(
        self,
        latents: Tensor | np.ndarray,
        captions: Captions = None,
        labels: Sequence[int] | None = None,
        cut: bool = False,
        output: Output = "pil",
    ) -> Pictures:
        """Latents (B, K, Z) or (K, Z) → pictures; other captions than those of ``encode`` edit by words.

        Args:
            latents: From ``encode`` of the same model.
            captions: One for each, one for all, or none.
            labels: Class labels, for a pair that reads them.
            cut: Cut a caption that is too long, instead of refusing it.
            output: ``pil`` images, a uint8 ``numpy`` array (B, S, S, 3), or a float ``tensor`` (B, 3, S, S) in about
                [−1, 1].

        Raises:
            ValueError: If the latents are of another shape or not finite, or a caption does not fit.
        """
        latents = torch.as_tensor(latents)
        pair = self.networks.pair
        if latents.ndim == 2:
            latents = latents[None]
        if latents.shape[1:] != (pair.num_latents, pair.latent_dim) or not latents.is_floating_point():
            raise ValueError(
                f"this model's latents are floats of shape (B, {pair.num_latents}, {pair.latent_dim}), got "
                f"{latents.dtype} {tuple(latents.shape)}: were they made by another model?"
            )
        if not len(latents) or not latents.isfinite().all():
            raise ValueError("there are no latents" if not len(latents) else "the latents hold NaN or infinity")
        rows, label = self._captions(captions, len(latents), cut), self._labels(labels, len(latents))
        latents = latents.float()
        parts = [
            pair.decode(latents[s].to(self.networks.device), self._text(rows[s]), None if label is None else label[s])
            for s in self._slices(len(latents))
        ]
        return from_batch(torch.cat([part.cpu() for part in parts]), output)

    def reconstruct(
        self,
        images: Picture | Sequence[Picture],
        captions: Captions = None,
        labels: Sequence[int] | None = None,
        cut: bool = False,
        output: Output = "pil",
    ) -> Pictures:
        """Encode and decode with the same captions; arguments as there."""
        return self.decode(self.encode(images, captions, labels, cut), captions, labels, cut, output)

    # ---------------------------------------------------------------- the generator

    def generate(
        self,
        prompt: Captions = None,
        label: int | str | Sequence[int | str] | None = None,
        num_images: int = 1,
        num_steps: int | None = None,
        guidance: float | None = None,
        seed: int = 0,
        cut: bool = False,
        output: Output = "pil",
    ) -> Pictures:
        """Make ``num_images`` pictures of each prompt or class.

        Picture i of a prompt depends on the prompt, the seed and i, not on what else is asked for: several prompts
        start from the same noise.

        Args:
            prompt: What the pictures shall show, one or several.
            label: Class numbers or names; with prompts, as many as these or one for all.
            num_images: Pictures each.
            num_steps: Steps of the sampler; its own number by default.
            guidance: Scale of the guidance; the sampler's own by default, 1 does not guide.
            seed: Seed of the noise.
            cut: Cut a prompt that is too long, instead of refusing it.
            output: As of ``decode``.

        Raises:
            ValueError: If something that was asked for does not fit.
        """
        if num_images < 1:
            raise ValueError(f"num_images must be at least 1, got {num_images}")
        asked = self._asked(prompt, label, cut)
        requests = [Request(i, each, text, seed) for each, text in asked for i in range(num_images)]
        return from_batch(self.sample(requests, num_steps, guidance), output)

    def sample(
        self, requests: Sequence[Request], num_steps: int | None = None, guidance: float | None = None
    ) -> Tensor:
        """Make one picture a request, (B, 3, S, S) float in about [−1, 1] on the CPU; else as ``generate``."""
        generation = self._generation(num_steps, guidance)
        return torch.cat([generation(requests[s]).float().cpu() for s in self._slices(len(requests))])

    def prepare(self, cut: bool, captions: Sequence[str]) -> None:
        """Check the captions of many requests, and read the text encoder, before the first is made.

        Raises:
            ValueError: If there is no generator, or a caption is too long.
        """
        self._require_generator()
        self._captions(captions, None, cut)

    def captions_of(self, requests: Sequence[Request]) -> list[str]:
        """The caption that each request's picture is decoded with."""
        generation = self._generation(None, None)
        return [generation.caption_of(request) for request in requests]

    def _generation(self, num_steps: int | None, guidance: float | None) -> Generation:
        self._require_generator()
        networks = self.networks
        sampler = self._sampler(num_steps, guidance)
        return Generation(
            networks.pair,
            networks.dit,
            networks.process,
            sampler,
            networks.normalizer,
            self._text,
            self.description.sizes.num_classes,
            self.class_captions,
        )

    def _sampler(self, num_steps: int | None, guidance: float | None) -> Sampler:
        own = self.networks.sampler
        rule = own.guidance
        if guidance is not None:
            if not guidance >= 0:
                raise ValueError(f"guidance must not be negative, got {guidance}; 1 does not guide")
            if not isinstance(rule, ClassifierFreeGuidance):
                raise ValueError(f"this model's guidance, {type(rule).__name__}, has no scale that could be set")
            rule = copy.copy(rule)
            rule.scale = guidance
        sampler = Sampler(own.scheduler, own.num_steps if num_steps is None else num_steps, rule, own.timestep_spacing)
        sampler.check(self.networks.process)
        return sampler

    def _asked(
        self, prompt: Captions, label: int | str | Sequence[int | str] | None, cut: bool
    ) -> list[tuple[int | None, str | None]]:
        """Label and prompt of each kind of picture that is asked for."""
        self._require_generator()
        prompts = checked_prompts(prompt)
        if prompts is None and label is None:
            raise ValueError("say what to generate: a prompt or a label")
        if label is None and not self.networks.generator_reads_text:
            raise ValueError("this generator reads no text, only classes: give a label beside the prompt, or alone")
        if prompts is not None:
            prompts = self._captions(prompts, None, cut)
        if label is None:
            return [(None, text) for text in prompts]
        names, sizes = self.description.class_names, self.description.sizes
        many = [label] if isinstance(label, int | str) else list(label)
        labels = [label_of(each, names, sizes.num_classes) for each in many]
        if not labels:
            raise ValueError("the list of labels is empty")
        if prompts is None:
            return [(each, None) for each in labels]
        labels = labels * len(prompts) if len(labels) == 1 else labels
        prompts = prompts * len(labels) if len(prompts) == 1 else prompts
        if len(labels) != len(prompts):
            raise ValueError(f"{len(labels)} labels for {len(prompts)} prompts: give one for each, or one for all")
        return list(zip(labels, prompts))

    def _require_generator(self) -> None:
        if self.networks.dit is None:
            raise ValueError("this model is a pair without a generator: it reconstructs, and generates nothing")

    # ---------------------------------------------------------------- what both need

    def _slices(self, count: int) -> list[slice]:
        return [slice(start, start + self.batch_size) for start in range(0, count, self.batch_size)]

    def _captions(self, captions: Captions, count: int | None, cut: bool) -> list[str]:
        encoder = self.networks.text_encoder if self.networks.needs_text else None
        self.networks.load_text_encoder()  # it counts the tokens
        return checked_captions(captions, count, encoder, cut)

    def _labels(self, labels: Sequence[int] | None, count: int) -> Tensor | None:
        if labels is None:
            return None
        checked = [label_of(int(each), (), self.description.sizes.num_classes) for each in labels]
        if len(checked) != count:
            raise ValueError(f"{len(checked)} labels for {count} pictures")
        return torch.tensor(checked, device=self.networks.device)

    def _text(self, captions: list[str]) -> TextTokens | None:
        if not self.networks.needs_text:
            return None
        self.networks.load_text_encoder()
        return self.networks.text_encoder(captions).to(self.networks.device)

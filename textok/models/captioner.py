"""Pictures → captions by a vision-language model: what the paper did with Gemini."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

PROMPT = (
    "Describe the image in one paragraph of at most 75 words: the main objects, their colours, number and places, "
    "the background and the style."
)


class Captioner:
    """Any model that ``transformers.AutoModelForImageTextToText`` reads, decoding greedily.

    Args:
        name: Folder with the model's files, or its name on the hub.
        prompt: What the model is asked. A model without a chat template takes it as the beginning of the caption, so
            "" or "a photo of" is right there.
        max_words: A longer caption is cut behind this many words.
        max_new_tokens: Tokens that are generated at most; a caption that they end is cut at the last whole word.
        dtype: Precision of the model.
    """

    def __init__(
        self,
        name: str,
        prompt: str = PROMPT,
        max_words: int = 75,
        max_new_tokens: int = 120,
        dtype: Literal["float32", "bfloat16", "float16"] = "float32",
    ) -> None:
        for argument, value in (("max_words", max_words), ("max_new_tokens", max_new_tokens)):
            if value < 1:
                raise ValueError(f"{argument} of a captioner must be at least 1, got {value}")
        self.name = name
        self.prompt = prompt
        self.max_words = max_words
        self.max_new_tokens = max_new_tokens
        self.dtype = dtype
        self.network: Any = None

    @property
    def identity(self) -> dict[str, Any]:
        """What its captions depend on."""
        fields = ("name", "prompt", "max_words", "max_new_tokens", "dtype")
        return {field: getattr(self, field) for field in fields}

    def load(self, device: torch.device | str = "cpu") -> None:
        """Read the weights; a second call reads nothing.

        Raises:
            ValueError: If they cannot be read.
        """
        if self.network is not None:
            return
        from transformers import AutoModelForImageTextToText, AutoProcessor
        from transformers.utils import logging

        logging.disable_progress_bar()  # one more bar would break the command's own
        source = str(Path(self.name).expanduser())
        try:
            self._processor = AutoProcessor.from_pretrained(source)
            network = AutoModelForImageTextToText.from_pretrained(source, dtype=getattr(torch, self.dtype))
        except Exception as error:  # OSError, ValueError, SafetensorError, ImportError, …
            reason = next(iter(str(error).strip().splitlines()), "no message")
            raise ValueError(
                f"the captioner {self.name!r} cannot be loaded ({type(error).__name__}: {reason}): give the folder or "
                "the hub's name of a model for AutoModelForImageTextToText"
            ) from error
        # Captions are continued at their right end, so the padding has to be on the left.
        self._processor.tokenizer.padding_side = "left"
        self.network = network.to(device).eval()

    @torch.no_grad()
    def __call__(self, images: list[Tensor]) -> list[str]:
        """Captions of uint8 (3, H, W) images of any size."""
        from torchvision.transforms.v2.functional import to_pil_image

        asked = self._question()
        text = {"text": [asked] * len(images)} if asked else {}
        inputs = self._processor(
            images=[to_pil_image(image) for image in images], return_tensors="pt", padding=True, **text
        )
        inputs = inputs.to(self.network.device)
        inputs["pixel_values"] = inputs["pixel_values"].to(self.network.dtype)
        out = self.network.generate(**inputs, max_new_tokens=self.max_new_tokens, do_sample=False)
        asked_ids = inputs.get("input_ids")
        if asked_ids is not None and torch.equal(out[:, : asked_ids.shape[1]], asked_ids):
            out = out[:, asked_ids.shape[1] :]  # a decoder repeats what it was asked
        answers = self._processor.batch_decode(out, skip_special_tokens=True)
        return [tidy(answer, self.prompt, self.max_words) for answer in answers]

    def _question(self) -> str:
        """The prompt in the model's own form of a conversation, where it has one."""
        if not getattr(self._processor, "chat_template", None):
            return self.prompt
        content = [{"type": "image"}, {"type": "text", "text": self.prompt}]
        messages = [{"role": "user", "content": content}]
        return self._processor.apply_chat_template(messages, add_generation_prompt=True)


def tidy(answer: str, prompt: str, max_words: int) -> str:
    """An answer on one line, without the prompt that some models repeat, cut to a number of words."""
    words = answer.split()
    asked = prompt.lower().split()
    if asked and [word.lower() for word in words[: len(asked)]] == asked:
        words = words[len(asked) :]
    return " ".join(words[:max_words])

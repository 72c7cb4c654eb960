"""The frozen networks' shapes without their weights: enough to count work and memory before anything is downloaded."""

from __future__ import annotations

import warnings
from pathlib import Path

import torch
from torch import nn

from textok.losses import LogitPerceptualLoss, LPIPSLoss, PerceptualLoss
from textok.models import HuggingFaceTextEncoder, T5TextEncoder, TextEncoder
from textok.models.huggingface import is_folder, minilm_folder
from textok.models.t5 import PUBLISHED

#: Encoders of T5 v1.1 and flan-T5 as their config.json on the hub: d_model, d_ff, d_kv, heads, layers.
T5_SIZES = {
    "small": (512, 1024, 64, 6, 8),
    "base": (768, 2048, 64, 12, 12),
    "large": (1024, 2816, 64, 16, 24),
    "xl": (2048, 5120, 64, 32, 24),
    "xxl": (4096, 10240, 64, 64, 24),
}


def text_encoder_outline(encoder: TextEncoder) -> nn.Module | None:
    """The encoder's network on the default device, with whatever weights; None where its shape is not on disk."""
    if not isinstance(encoder, HuggingFaceTextEncoder):
        return None
    config = _t5_config(encoder.name) if isinstance(encoder, T5TextEncoder) else None
    config = config if config is not None else _config_on_disk(encoder.name)
    if config is None:
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        network_class = encoder.network_class(config)
        build = getattr(network_class, "from_config", network_class)
        network = build(config)
    network = getattr(network, "text_model", network)
    network = network.get_encoder() if network.config.is_encoder_decoder else network
    return network.to(encoder.dtype).requires_grad_(False).eval()


def _t5_config(name: str | None):
    from transformers import T5Config

    short = (name or "").rpartition("/")[2].lower()
    size = PUBLISHED.fullmatch(short)
    # The first T5 has other widths and no gates.
    if size is None or not ("v1_1" in short or "flan" in short) or size[1] not in T5_SIZES or is_folder(name):
        return None
    width, hidden, head, heads, layers = T5_SIZES[size[1]]
    return T5Config(
        vocab_size=32128,
        d_model=width,
        d_ff=hidden,
        d_kv=head,
        num_heads=heads,
        num_layers=layers,
        feed_forward_proj="gated-gelu",
    )


def _config_on_disk(name: str | None):
    from transformers import AutoConfig

    source = str(minilm_folder()) if name is None else str(Path(name).expanduser())
    try:
        return AutoConfig.from_pretrained(source, local_files_only=True)
    except (OSError, ValueError):
        return None


def give_outline(perceptual: PerceptualLoss) -> bool:
    """Give a perceptual loss its network, on the meta device where its weights are not at hand.

    Returns:
        False where the class is not known here and its weights are not at hand: it can then not be counted.
    """
    if isinstance(perceptual, LPIPSLoss):
        import lpips

        with torch.device("meta"), warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # lpips calls torchvision in an old way
            perceptual.frozen.network = lpips.LPIPS(net=perceptual.net, pretrained=False, pnet_rand=True, verbose=False)
        return True
    if isinstance(perceptual, LogitPerceptualLoss):
        import timm

        with torch.device("meta"):
            perceptual.classifier.network = timm.create_model(perceptual.classifier.model_name, pretrained=False)
        return True
    try:
        with torch.device("cpu"):
            perceptual.load()
    except (OSError, ImportError):
        return False
    return True

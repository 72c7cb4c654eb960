"""Seconds an image of DiT-XL over 32 to 256 latent tokens, against DiT-XL/2 over 256 and 1024 (the paper's figure 4).

    python benchmarks/generation.py [--timed-steps 2] [--output generation_speed]
    python benchmarks/generation.py --timed-steps 0      # counts only, in seconds
    python benchmarks/generation.py --width 64 --depth 2 --text google/t5-v1_1-small      # does it run?

Both kinds of DiT are one class with the same blocks: DiT-XL/2 reads 2 x 2 patches of 4 channels, that is tokens of 16.
Pictures are made by the library's own ``Generation``: text once a prompt, both branches of guidance in one batch, the
detokenizer once. Its calls are timed on walks of a few steps (the median of all but the first), and the seconds of 250
DDPM steps and of 20 of DPM-Solver++, which call the denoiser once each, are extrapolated. All models take the same
number of steps. The decoder that the reference needs to get from latents to pixels is left out, in its favour.

Multiply-accumulates (MAC) are counted by torch on the meta device, half its FLOPs. Weights are random, and cost what
trained ones do. T5-XXL is not timed: its seconds are T5-XL's times the ratio of their MACs. Prints a table and writes
it as JSON beside the plot.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from diffusers import DDPMScheduler
from generation_rows import FULL, QUICK, Row, plot, table, work_table
from torch import Tensor, nn

from textok.diffusion import ConstantGuidance, GaussianDiffusion, Generation, LatentNormalizer, Sampler
from textok.models import DiT, T5TextEncoder, TexTok
from textok.planning.outlines import text_encoder_outline
from textok.planning.work import count, size_of
from textok.types import Condition, Request, Sizes, TextTokens

#: Tokens of a DiT, their channels, and the image sizes that they serve.
MODELS = [(32, 8, (256, 512)), (64, 8, (256, 512)), (128, 8, (256, 512)), (256, 8, (256, 512))]
MODELS += [(256, 16, (256,)), (1024, 16, (512,))]


@dataclass
class Timed:
    """A callable whose calls are timed.

    Args:
        call: What is called.
        device: Where it computes.
    """

    call: Callable[..., Any]
    device: torch.device
    spent: list[float] = field(default_factory=list)
    rows: list[int] = field(default_factory=list)

    def __call__(self, first: Any, *rest: Any) -> Any:
        begin = self._now()
        result = self.call(first, *rest)
        self.spent.append(self._now() - begin)
        self.rows.append(len(first))
        return result

    def _now(self) -> float:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return time.perf_counter()


class NoPair(nn.Module):
    """In place of a pair, for the reference: its latents stay what they are."""

    def __init__(self, num_latents: int, latent_dim: int) -> None:
        super().__init__()
        self.num_latents, self.latent_dim = num_latents, latent_dim

    def decode(self, latents: Tensor, text: TextTokens | None, label: Tensor | None) -> Tensor:
        return latents


def text_network(name: str, num_tokens: int, device: torch.device | str) -> nn.Module:
    """A published T5 encoder, with random weights unless on the meta device."""
    with torch.device("meta"):
        network = text_encoder_outline(T5TextEncoder(name, num_tokens))
    if network is None:
        raise SystemExit(f"--text {name} is no published T5: take google/t5-v1_1-small, -base, -large, -xl or -xxl")
    if torch.device(device).type != "meta":
        network = network.to_empty(device=device)
        for parameter in network.parameters():
            parameter.normal_(std=0.02)
    return network


def text_gmac(name: str, num_tokens: int) -> float:
    network, ids = text_network(name, num_tokens, "meta"), torch.zeros(1, num_tokens, dtype=torch.long, device="meta")
    with torch.no_grad():
        return count(lambda: network(input_ids=ids)) / 2e9


def make_dit(num_tokens: int, channels: int, args: argparse.Namespace) -> DiT:
    dims = num_tokens, channels, GaussianDiffusion().out_dim(channels)
    return DiT(*dims, Sizes(256, num_classes=1000), args.width, args.depth, args.heads)


def dit_gmac(num_tokens: int, channels: int, args: argparse.Namespace) -> float:
    with torch.device("meta"):
        dit = make_dit(num_tokens, channels, args)
        x, t, label = torch.empty(1, num_tokens, channels), torch.empty(1), torch.empty(1, dtype=torch.long)
    with torch.no_grad():
        return count(lambda: dit(x, t, Condition(label=label))) / 2e9


def make_pair(image_size: int, num_tokens: int, text_dim: int, args: argparse.Namespace) -> TexTok:
    sizes = Sizes(image_size, num_classes=1000, text_dim=text_dim, num_text_tokens=args.text_tokens)
    width, depth, heads = (768, 12, 12) if args.width == 1152 else (args.width, args.depth, args.heads)
    return TexTok(sizes, num_tokens, patch_size=image_size // 32, width=width, depth=depth, num_heads=heads)


def decode_gmac(image_size: int, num_tokens: int, text_dim: int, args: argparse.Namespace) -> float:
    with torch.device("meta"):
        pair = make_pair(image_size, num_tokens, text_dim, args)
        latents, tokens = torch.empty(1, num_tokens, pair.latent_dim), torch.empty(1, args.text_tokens, text_dim)
        text = TextTokens(tokens, torch.empty(1, args.text_tokens, dtype=torch.bool))
    with torch.no_grad():
        return count(lambda: pair.decode(latents, text)) / 2e9


def measure(
    row: Row, dit: DiT, encode: Callable[[list[str]], TextTokens] | None, text_dim: int, args: argparse.Namespace
) -> None:
    """Fill in the seconds of a row from two pictures of a few steps, the first of which warms up."""
    pair: nn.Module = NoPair(row.num_tokens, dit.latent_dim)
    if encode is not None:
        pair = make_pair(row.image_size, row.num_tokens, text_dim, args).eval().to(args.device)
    denoiser, read = Timed(dit, args.device), Timed(encode or (lambda captions: None), args.device)
    pair.decode = decode = Timed(pair.decode, args.device)
    normalizer = LatentNormalizer(dit.latent_dim)
    normalizer.fit([torch.randn(16, row.num_tokens, dit.latent_dim)])
    sampler = Sampler(DDPMScheduler(), args.timed_steps, ConstantGuidance(1.5))
    generate = Generation(pair, denoiser, GaussianDiffusion(), sampler, normalizer.to(args.device), read, 1000)
    for number in range(2):
        generate([Request(number * args.batch + i, label=0, caption="a picture") for i in range(args.batch)])
    # Guidance is one call of both branches, and the text is read once a picture, however many the steps.
    assert set(denoiser.rows) == {2 * args.batch} and len(denoiser.rows) == 2 * args.timed_steps
    assert len(read.rows) == len(decode.rows) == 2
    row.step_seconds = statistics.median(denoiser.spent[1:]) / args.batch
    if encode is not None:
        row.decode_seconds, row.text_seconds = decode.spent[-1] / args.batch, read.spent[-1] / args.batch


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--width", type=int, default=1152, help="of the DiT; another than XL's 1152 is the pair's, too")
    parser.add_argument("--depth", type=int, default=28)
    parser.add_argument("--heads", type=int, help="attention heads (16 at 1152, else width / 64)")
    parser.add_argument("--text", default="google/t5-v1_1-xl", help="text encoder that is timed")
    parser.add_argument("--text-tokens", type=int, default=128)
    parser.add_argument("--timed-steps", type=int, default=2, help="steps of a walk, two walks a model; 0 counts only")
    parser.add_argument("--batch", type=int, default=1, help="images at once")
    parser.add_argument("--device", type=torch.device, default=torch.device("cpu"))
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--output", type=Path, default=Path("generation_speed"), help="written with .json and .png")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    args.heads = args.heads or (16 if args.width == 1152 else max(1, args.width // 64))

    begin = time.perf_counter()
    if args.timed_steps == 1 or args.timed_steps < 0:
        parser.error(f"--timed-steps is {args.timed_steps}: the first step warms up, so take 0 or at least 2")
    device = args.device if args.timed_steps else torch.device("meta")
    network = text_network(args.text, args.text_tokens, device)
    encoder_gmac = text_gmac(args.text, args.text_tokens)
    # The paper's encoder at 512² is XXL.
    large = args.text.replace("xl", "xxl") if args.text.endswith("-xl") else args.text
    factors = {256: 1.0, 512: text_gmac(large, args.text_tokens) / encoder_gmac}

    def encode(captions: list[str]) -> TextTokens:
        ids = torch.randint(0, 32000, (len(captions), args.text_tokens), device=args.device)
        tokens = network(input_ids=ids).last_hidden_state
        return TextTokens(tokens.float(), torch.ones(ids.shape, dtype=torch.bool, device=args.device))

    rows = []
    for num_tokens, channels, image_sizes in MODELS:
        with device if device.type == "meta" else torch.device("cpu"):
            dit = make_dit(num_tokens, channels, args).eval().to(device)
        for image_size in image_sizes:
            row = Row("TexTok" if channels == 8 else "DiT-XL/2", image_size, num_tokens)
            row.step_gmac = dit_gmac(num_tokens, channels, args)
            if channels == 8:
                row.decode_gmac = decode_gmac(image_size, num_tokens, network.config.d_model, args)
                row.text_gmac = encoder_gmac * factors[image_size]
            rows.append(row)
            if not args.timed_steps:
                continue
            measure(row, dit, encode if channels == 8 else None, network.config.d_model, args)
            row.text_seconds *= factors[image_size]
            print(
                f"{row.name} {num_tokens}, {image_size}²: measured at {time.perf_counter() - begin:.0f} s", flush=True
            )
        parameters = size_of(dit)
        del dit  # two of them need not fit
    rows.sort(key=lambda row: (row.image_size, row.name != "TexTok", row.num_tokens))

    print(f"DiT of {parameters / 1e6:.0f} M parameters; text by {args.text} at 256², {large} at 512²\n")
    print(work_table(rows))
    if not args.timed_steps:
        return
    setting = f"{args.device}, torch {torch.__version__}, {args.threads} threads, batch of {args.batch}"
    print(f"\n{setting}; two walks of {args.timed_steps} steps were timed, {FULL} and {QUICK} are extrapolated\n")
    print(table(rows))
    record = {"setting": setting, "parameters": parameters, "timed_steps": args.timed_steps, "text": args.text}
    full = {"rows": [asdict(row) | {f"seconds_{n}_steps": row.seconds(n) for n in (FULL, QUICK)} for row in rows]}
    args.output.parent.mkdir(parents=True, exist_ok=True)
    args.output.with_suffix(".json").write_text(json.dumps(record | full, indent=2))
    plot(rows, args.output.with_suffix(".png"))
    print(f"\nwritten to {args.output.with_suffix('.json')} and {args.output.with_suffix('.png')}")


if __name__ == "__main__":
    main()

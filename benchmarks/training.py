"""Training speed of both stages, as images/s and as a share of what this machine's matrix products reach.

    python benchmarks/training.py [--width 192] [--steps 20] [--threads 2]

Both rates are measured in one process, a matrix product before and after each stage, so the share holds on a noisy
machine. Floating-point operations are counted by torch on the meta device; frozen networks are not counted, and not
run here (no text encoder, no perceptual network): what is measured is what is trained.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from functools import partial

import torch

from textok.callbacks.throughput import matmul_rate
from textok.diffusion import GaussianDiffusion
from textok.losses import R1, NonSaturatingLoss
from textok.models import DiT, StyleGANDiscriminator, TexTok
from textok.modules.flops import generator_flops, tokenizer_flops
from textok.types import Condition, Sizes, TextTokens


def measure(name: str, step: Callable[[], None], batch: int, flops: float, steps: int) -> None:
    """Print one line about a training step."""
    for _ in range(3):
        step()
    before = matmul_rate(torch.device("cpu"), torch.float32, seconds=1.0)
    begin = time.perf_counter()
    for _ in range(steps):
        step()
    seconds = time.perf_counter() - begin
    after = matmul_rate(torch.device("cpu"), torch.float32, seconds=1.0)
    rate = steps * batch / seconds
    peak = 0.5 * (before + after)
    print(
        f"{name:<38} {rate:8.1f} images/s {flops * rate / 1e9:8.1f} GFLOP/s of {peak / 1e9:6.1f}: "
        f"{flops * rate / peak:.2f}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--width", type=int, default=192, help="width of the pair and of the DiT")
    parser.add_argument("--depth", type=int, default=4, help="blocks of each half and of the DiT")
    parser.add_argument("--image-size", type=int, default=64)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--steps", type=int, default=10, help="measured steps a line")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)

    sizes = Sizes(args.image_size, num_classes=10, text_dim=384, num_text_tokens=32)
    heads = args.width // 64
    make_textok = partial(TexTok, num_latents=32, patch_size=8, width=args.width, depth=args.depth, num_heads=heads)
    halvings = (args.image_size // 4).bit_length() - 1
    make_discriminator = partial(StyleGANDiscriminator, base_width=32, multipliers=(1, 2, 4, 4, 4, 4)[:halvings])
    process = GaussianDiffusion()

    def make_dit(textok: TexTok) -> DiT:
        dims = textok.num_latents, textok.latent_dim, process.out_dim(textok.latent_dim)
        return DiT(*dims, sizes, width=args.width, depth=args.depth, num_heads=heads)

    textok, discriminator = make_textok(sizes), make_discriminator(sizes)
    dit = make_dit(textok)
    images = torch.randn(args.batch, 3, args.image_size, args.image_size)
    text = TextTokens(torch.randn(args.batch, 32, 384), torch.arange(32)[None].expand(args.batch, -1) < 14)
    label = torch.zeros(args.batch, dtype=torch.int64)
    optimizers = [torch.optim.AdamW(m.parameters(), 1e-4, fused=True) for m in (textok, discriminator, dit)]
    adversarial, r1 = NonSaturatingLoss(), R1()

    def update(optimizer: torch.optim.Optimizer, loss: torch.Tensor) -> None:
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    def reconstruction_step() -> None:
        update(optimizers[0], (textok(images, text)[0] - images).square().mean())

    def adversarial_step() -> None:
        fake = textok(images, text)[0]
        discriminator.requires_grad_(False)
        update(optimizers[0], (fake - images).square().mean() + 0.1 * adversarial.generator(discriminator(fake)))
        discriminator.requires_grad_(True)
        loss = adversarial.discriminator(discriminator(images), discriminator(fake.detach()))
        update(optimizers[1], loss + 10 * r1(discriminator, images))

    def generator_step() -> None:
        with torch.no_grad():
            latents = textok.encode(images, text)
        update(optimizers[2], sum(process.loss(dit, latents, Condition(label=label)).values()))

    print(f"torch {torch.__version__}, {args.threads} threads")
    print(f"width {args.width}, {args.depth} blocks, {args.image_size} pixels, batches of {args.batch}")
    no_critic = tokenizer_flops(sizes, make_textok, None)
    with_critic = tokenizer_flops(sizes, make_textok, make_discriminator, r1_every=1)
    measure("stage 1, the pair alone", reconstruction_step, args.batch, no_critic, args.steps)
    measure("stage 1, with discriminator and R1", adversarial_step, args.batch, with_critic, args.steps)
    measure("stage 2, DiT", generator_step, args.batch, generator_flops(sizes, make_textok, make_dit), args.steps)


if __name__ == "__main__":
    main()

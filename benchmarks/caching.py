"""Stage 2 from the latent cache against encoding on the fly, in one process on the same steps.

    python benchmarks/caching.py --stage1 RUN --cache CACHE [--steps 100] [--width 128]

Prints images/s of both, their ratio, and the share of its time that training from the cache waits for data.
"""

from __future__ import annotations

import argparse
import time
from functools import partial
from pathlib import Path

import torch

from textok.datamodules import LatentsDataModule
from textok.diffusion import GaussianDiffusion
from textok.models import DiT
from textok.runs import load_run
from textok.runs.load import load_data
from textok.types import Condition


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stage1", type=Path, required=True, help="run folder of stage 1")
    parser.add_argument("--cache", type=Path, required=True, help="its latents cache")
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--width", type=int, default=128, help="width of the DiT")
    parser.add_argument("--depth", type=int, default=4, help="blocks of the DiT")
    args = parser.parse_args()
    torch.manual_seed(0)
    module = load_run(args.stage1)
    images = load_data(args.stage1)
    images.batch_size = args.batch
    cached = LatentsDataModule(args.cache, images.image_size, images.num_classes, batch_size=args.batch)
    process, pair = GaussianDiffusion(), module.ema
    make = partial(DiT, width=args.width, depth=args.depth, num_heads=max(1, args.width // 32))
    dit = make(pair.num_latents, pair.latent_dim, process.out_dim(pair.latent_dim), module.sizes)
    optimizer = torch.optim.AdamW(dit.parameters(), 1e-4, fused=True)
    rates = {}
    for name, data in (("on the fly", images), ("from the cache", cached)):
        data.setup()
        waited = 0.0
        stream = (batch for _ in range(args.steps + 4) for batch in data.train_dataloader())
        begin = time.perf_counter()
        for step in range(args.steps + 3):
            if step == 3:  # the first steps warm up
                begin, waited = time.perf_counter(), 0.0
            asked = time.perf_counter()
            batch = next(stream)
            waited += time.perf_counter() - asked
            batch = data.on_after_batch_transfer(batch, 0)
            with torch.no_grad():
                latents = batch.latents
                if latents is None:
                    latents = pair.encode(batch.image, module.encode_captions(batch.caption), batch.label)
            sum(process.loss(dit, latents, Condition(label=batch.label)).values()).backward()
            optimizer.step()
            optimizer.zero_grad()
        seconds = time.perf_counter() - begin
        rates[name] = args.steps * args.batch / seconds
        print(f"{name:<16} {rates[name]:9.1f} images/s, {waited / seconds:6.2%} of the time waiting for data")
    print(f"ratio            {rates['from the cache'] / rates['on the fly']:9.2f}")


if __name__ == "__main__":
    main()

"""The tables of docs/cost.md and docs/scaling.md, as Markdown: `python scripts/planning_tables.py cost | scaling`.

They need neither data nor weights nor a GPU. The data section is that of shapes with ImageNet's number of classes: an
estimate reads image size, classes and batch of it and nothing else.
"""

from __future__ import annotations

import argparse
from itertools import product
from pathlib import Path

from textok.planning import Assumptions, Estimate, estimate, find_gpu, parse
from textok.planning.gpus import GIB
from textok.planning.scaling import Cluster, scale
from textok.planning.tables import size

CONFIGS = Path(__file__).parents[1] / "configs"
TOKENS = (32, 64, 128, 256)
GPU, DEVICES, BATCH = "h100", 8, 32


def stage_1(image_size: int, tokens: int) -> Estimate:
    """The paper's pair."""
    large = ["textok/imagenet512", "textok/discriminator512"] if image_size == 512 else []
    return made(["tokenizer", "textok/paper256", *large, f"textok/n{tokens}"], image_size)


def stage_2(image_size: int, tokens: int, dit: str) -> Estimate:
    """A DiT on the latents of the paper's pair."""
    large = ["textok/imagenet512"] if image_size == 512 else []
    return made(["generator", "textok/paper256", *large, f"textok/n{tokens}", f"dit/{dit}"], image_size)


def made(names: list[str], image_size: int) -> Estimate:
    names = ["base", *names, f"data/shapes{image_size}", "overlays/gpu"]
    options = [part for name in names for part in ("-c", str(CONFIGS / f"{name}.yaml"))]
    options += ["--data.init_args.num_classes=1000", f"--data.init_args.batch_size={BATCH}"]
    return estimate(parse(options), Assumptions(find_gpu(GPU), DEVICES))


def row(*cells: object) -> None:
    print("| " + " | ".join(map(str, cells)) + " |", flush=True)


def head(*cells: str) -> None:
    row(*cells)
    row(*("---" if i == 0 else "---:" for i in range(len(cells))))


def cost() -> None:
    """A row a shipped configuration."""
    told = ("parameters", "GMAC forward", "GMAC a step", "GiB", "checkpointed", "hours", "GPU-hours", "cached")
    print("\n### Stage 1\n")
    head("image, tokens", *told, "text cache", "latents", "checkpoint")
    for image_size, tokens in product((256, 512), TOKENS):
        found = stage_1(image_size, tokens)
        row(f"{image_size}², {tokens}", *numbers(found), size(found.text_cache_bytes), *disk(found))
    print("\n### Stage 2\n")
    head("image, tokens, DiT", *told, "latents", "checkpoint")
    sizes = [(256, dit) for dit in ("s", "b", "l", "xl")] + [(512, "xl")]
    for (image_size, dit), tokens in product(sizes, TOKENS):
        found = stage_2(image_size, tokens, dit)
        row(f"{image_size}², {tokens}, {dit.upper()}", *numbers(found), *disk(found))


def numbers(found: Estimate) -> list[str]:
    trained, hours = found.parts[0], found.hours()
    cached = found.hours(list(found.savings.values())[-1])
    return [
        f"{trained.parameters / 1e6:,.1f} M",
        f"{trained.forward / 2e9:,.2f}",
        f"{found.step_flops(found.phases[-1]) / found.images_per_step / 2e9:,.0f}",
        f"{found.memory['ddp'].total / GIB:.1f}",
        f"{found.memory_checkpointed['ddp'].total / GIB:.1f}",
        f"{hours:,.0f}",
        f"{hours * DEVICES:,.0f}",
        f"{cached * DEVICES:,.0f}",
    ]


def disk(found: Estimate) -> tuple[str, str]:
    return size(found.latent_cache_bytes), size(found.checkpoint_bytes)


def scaling() -> None:
    """What bounds a step at 8, 64 and 512 GPUs, with the batch of the recipe and with 32 images a device."""
    runs = {
        "stage 1, 256², 128 tokens, T5 in the step": (stage_1(256, 128), False),
        "stage 1, 256², 128 tokens, text cache": (stage_1(256, 128), True),
        "stage 2, DiT-XL, 128 tokens, images": (stage_2(256, 128, "xl"), False),
        "stage 2, DiT-XL, 128 tokens, latent cache": (stage_2(256, 128, "xl"), True),
        "stage 2, DiT-XL, 32 tokens, latent cache": (stage_2(256, 32, "xl"), True),
    }
    for name, (found, cached) in runs.items():
        print(f"\n### {name}\n")
        told = ("images a step", "compute", "all-reduce", "hidden", "efficiency", "images/s", "cores a GPU", "read")
        head("GPUs, images each", *told, "bound by")
        for devices, batch in ((8, 32), (64, 4), (64, 32), (512, 1), (512, 32)):
            step = scale(found, devices, batch, Cluster(), cached)
            row(
                f"{devices}, {batch}",
                f"{devices * batch:,}",
                f"{1e3 * step.compute:,.1f} ms",
                f"{1e3 * step.all_reduce:,.1f} ms",
                f"{1 - step.exposed / step.all_reduce:.0%}",
                f"{step.efficiency:.0%}",
                f"{step.images_per_second:,.0f}",
                f"{step.decode_cores:.1f}",
                f"{size(step.read)}/s",
                step.bound,
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", choices=("cost", "scaling"))
    {"cost": cost, "scaling": scaling}[parser.parse_args().table]()


if __name__ == "__main__":
    main()

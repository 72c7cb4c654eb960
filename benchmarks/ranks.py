"""What several processes and what watches a run cost, as ratios of one run of this script.

    python benchmarks/ranks.py [--width 128] [--depth 4] [--batch 64] [--steps 20]

Two processes with one thread each (gloo) against one process with two threads, in images/s, for both stages; a step
with EMA, watchdog and logging against one without; how long a step is held up by a checkpoint, against the copy of its
tensors in memory. Threads, not cores, are counted: nothing else should run.
"""

from __future__ import annotations

import argparse
import copy
import os
import socket
import tempfile
import time
import warnings
from functools import partial
from pathlib import Path

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.strategies import DDPStrategy

from textok.callbacks import EMA, BackgroundCheckpointIO, CurveLogger, Throughput, Watchdog
from textok.datamodules import ShapesDataModule
from textok.diffusion import GaussianDiffusion, Sampler
from textok.losses import R1, LeCAM
from textok.models import DiT, NoText, StyleGANDiscriminator, TexTok
from textok.modules import AdversarialStage, GeneratorModule, TokenizerModule
from textok.optim import Warmup

IMAGE_SIZE = 32


class Clock(Callback):
    """Seconds of each step; the first ones are left out."""

    SKIPPED = 3

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self._last: float | None = None

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx) -> None:
        now = time.perf_counter()
        if self._last is not None:
            self.seconds.append(now - self._last)
        self._last = now

    @property
    def median(self) -> float:
        return float(torch.tensor(self.seconds[self.SKIPPED :]).median())


class Saver(Callback):
    """Saves a checkpoint once, and times it and the copy of its tensors."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.stall, self.copy = folder, 0.0, 0.0

    def on_train_end(self, trainer, pl_module) -> None:
        begin = time.perf_counter()
        state = pl_module.state_dict(), [optimizer.state_dict() for optimizer in trainer.optimizers]
        copy.deepcopy(state)
        self.copy = time.perf_counter() - begin
        begin = time.perf_counter()
        trainer.save_checkpoint(self.folder / "step.ckpt")
        self.stall = time.perf_counter() - begin


def module_of(stage: str, args: argparse.Namespace):
    """A module of a stage without text, so that only what is trained is measured."""
    torch.manual_seed(0)
    sizes = {"image_size": IMAGE_SIZE, "num_classes": 8, "seed": 0}
    shape = {"width": args.width, "depth": args.depth, "num_heads": args.width // 32}
    pair = partial(TexTok, num_latents=16, patch_size=4, tokenizer_conditioning=NoText, **shape)
    sizes["textok"] = partial(pair, detokenizer_conditioning=NoText)
    adam = {"optimizer": partial(torch.optim.AdamW, lr=1e-4, fused=True), "schedule": Warmup}
    if stage == "tokenizer":
        critic = partial(StyleGANDiscriminator, base_width=16, multipliers=(1, 2, 4))
        choices = {"discriminator": critic, "discriminator_optimizer": adam["optimizer"]}
        choices |= {"discriminator_schedule": Warmup, "r1": R1(), "lecam": LeCAM(), "stage": AdversarialStage(start=0)}
        return TokenizerModule(**sizes, **adam, **choices)
    from diffusers import DDPMScheduler

    process = {"process": GaussianDiffusion(), "sampler": Sampler(DDPMScheduler(), num_steps=2)}
    module = GeneratorModule(**sizes, **adam, **process, tokenizer_checkpoint=None, dit=partial(DiT, **shape))
    module.normalizer.fitted.fill_(True)
    return module


def seconds_a_step(stage: str, args: argparse.Namespace, batch: int, devices: int, callbacks: list, log: bool = False):
    """The median time of a step; a batch of ``batch`` on each of ``devices`` processes, of which this is one."""
    warnings.filterwarnings("ignore")
    clock = Clock()
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(
            accelerator="cpu",
            devices=devices,
            strategy=DDPStrategy(gradient_as_bucket_view=True) if devices > 1 else "auto",
            max_epochs=-1,
            max_steps=args.steps + Clock.SKIPPED + 1,
            logger=[CurveLogger(Path(folder) / "curves.csv", None)] if log else False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            limit_val_batches=0,
            use_distributed_sampler=False,
            log_every_n_steps=10,
            plugins=[BackgroundCheckpointIO()],
            default_root_dir=folder,
            callbacks=[*callbacks, clock],
        )
        count = 4 * batch * devices
        data = ShapesDataModule(image_size=IMAGE_SIZE, num_train=count, num_val=4, batch_size=batch, seed=0)
        trainer.fit(module_of(stage, args), datamodule=data)
    return clock.median


def _two(rank: int, port: int, args: argparse.Namespace, queue) -> None:
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}
    os.environ |= {"GROUP_RANK": "0", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "TORCHELASTIC_RUN_ID": "b"}
    torch.set_num_threads(1)
    seconds = {stage: seconds_a_step(stage, args, args.batch // 2, 2, []) for stage in ("tokenizer", "generator")}
    if rank == 0:
        queue.put(seconds)
    dist.barrier()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--width", type=int, default=128, help="width of the pair and of the DiT")
    parser.add_argument("--depth", type=int, default=4, help="blocks of each half and of the DiT")
    parser.add_argument("--batch", type=int, default=64, help="images of a step, of all processes together")
    parser.add_argument("--steps", type=int, default=20, help="measured steps of a line")
    args = parser.parse_args()

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    queue = mp.get_context("spawn").SimpleQueue()
    mp.spawn(_two, args=(port, args, queue), nprocs=2)
    two = queue.get()
    torch.set_num_threads(2)
    print(f"torch {torch.__version__}, width {args.width}, {args.depth} blocks, {IMAGE_SIZE} pixels")
    print(f"{args.batch} images a step, {args.steps} steps")
    for stage in ("tokenizer", "generator"):
        one = seconds_a_step(stage, args, args.batch, 1, [])
        rates = args.batch / two[stage], args.batch / one
        ratio = rates[0] / rates[1]
        print(f"{stage}: 2 processes x 1 thread {rates[0]:.1f} images/s, 1 x 2 {rates[1]:.1f}: {ratio:.2f}")
    for stage in ("tokenizer", "generator"):
        bare = seconds_a_step(stage, args, args.batch, 1, [])
        watched = seconds_a_step(stage, args, args.batch, 1, [EMA(), Watchdog(), Throughput()], log=True)
        share = 100 * (watched / bare - 1)
        print(f"{stage}: EMA, watchdog and logging {share:+.1f} % of a step of {1000 * bare:.0f} ms")
    with tempfile.TemporaryDirectory() as folder:
        saver = Saver(Path(folder))
        seconds_a_step("tokenizer", args, args.batch, 1, [saver])
        size = (Path(folder) / "step.ckpt").stat().st_size / 2**20
    times = saver.stall, saver.copy
    print(f"checkpoint of {size:.0f} MiB: {times[0]:.2f} s, copy of its tensors {times[1]:.2f} s")


if __name__ == "__main__":
    main()

"""An estimate as tables for a terminal."""

from __future__ import annotations

from collections.abc import Iterator

from rich.table import Table

from textok.planning.estimate import Estimate
from textok.planning.gpus import GIB
from textok.planning.memory import Memory

#: Rows of the memory table and the fields they show.
HOLDERS = {
    "weights": "weights",
    "gradients": "gradients",
    "optimiser": "optimizer",
    "averages (EMA)": "averages",
    "frozen networks": "frozen",
    "communication": "communication",
    "activations": "activations",
}


def tables(found: Estimate) -> Iterator[Table]:
    """All tables of an estimate, in the order they are read."""
    yield work_table(found)
    yield memory_table(found)
    yield time_table(found)
    yield storage_table(found)


def work_table(found: Estimate) -> Table:
    """A row a network: parameters, GMAC of a forward and of a training step on one image."""
    table = Table(title=f"stage {found.stage}: networks and their work on one image", title_justify="left")
    table.add_column("", no_wrap=True)
    for name in ("parameters", "GMAC forward", "GMAC in a step", "of the time"):
        table.add_column(name, justify="right")
    whole = sum(map(found.image_seconds, found.parts))
    for part in found.parts:
        table.add_row(
            part.name + ("" if part.trained else " (frozen)"),
            f"{part.parameters / 1e6:,.2f} M" if part.parameters else "",
            gmac(part.forward),
            "not counted" if part.step is None else gmac(part.step),
            f"{found.image_seconds(part) / whole:.0%}",
        )
    table.add_section()
    for phase in found.phases:
        table.add_row(phase.name, "", "", gmac(found.step_flops(phase) / found.images_per_step), "")
    return table


def memory_table(found: Estimate) -> Table:
    """A column a strategy: GiB of one device, with and without activation checkpointing."""
    gpu, devices = found.assumptions.gpu, found.assumptions.devices
    title = f"GiB of one device at the peak of a step: {found.batch_size} images, {found.precision}"
    caption = "checkpointed blocks compute their forward twice: up to a third more work in what is trained"
    table = Table(title=title, title_justify="left", caption=caption, caption_justify="left")
    table.add_column("")
    names = {"single": "1 device", "ddp": f"DDP on {devices}", "fsdp": f"FSDP on {devices}"}
    shown = ["single"] if devices == 1 else list(names)
    for name in shown:
        table.add_column(names[name], justify="right")
    for row, field in HOLDERS.items():
        table.add_row(row, *(gib(getattr(found.memory[name], field)) for name in shown))
    table.add_row("total", *(fits(found.memory[name], gpu.usable) for name in shown), style="bold")
    table.add_section()
    slim = found.memory_checkpointed
    table.add_row("activations, blocks checkpointed", *(gib(slim[name].activations) for name in shown))
    table.add_row("total, blocks checkpointed", *(fits(slim[name], gpu.usable) for name in shown), style="bold")
    return table


def time_table(found: Estimate) -> Table:
    """Steps, hours and GPU-hours of the run, and what caches spare."""
    told = found.assumptions
    title = f"{found.max_steps:,} steps on {told.devices} {told.gpu.name} at {told.utilisation:.0%} of its peak rate"
    caption = f"{found.images_per_step:,} images a step; calculated: waiting for data and other devices is not in it"
    table = Table(title=title, title_justify="left", caption=caption, caption_justify="left")
    table.add_column("")
    for name in ("TMAC a step", "s a step", "hours", "GPU-hours"):
        table.add_column(name, justify="right")
    for phase in found.phases:
        hours = phase.steps * found.step_seconds(phase) / 3600
        row = f"{phase.name}: {phase.steps:,} steps"
        work, seconds = found.step_flops(phase) / 2e12, found.step_seconds(phase)
        table.add_row(row, f"{work:,.1f}", f"{seconds:.3g}", f"{hours:,.1f}", f"{hours * told.devices:,.0f}")
    table.add_section()
    table.add_row(f"all: {found.epochs:,.1f} epochs of {told.num_images:,}", "", "", *spent(found, ()), style="bold")
    for name, without in found.savings.items():
        table.add_row(name, "", "", *spent(found, without))
    return table


def storage_table(found: Estimate) -> Table:
    """Sizes on disk."""
    table = Table(title="on disk", title_justify="left", show_header=False)
    table.add_column("")
    table.add_column("", justify="right")
    images = f"{found.assumptions.num_images:,} images"
    table.add_row("a checkpoint", size(found.checkpoint_bytes))
    if found.text_cache_bytes:
        table.add_row(f"text cache, a caption an image, {images}: at most", size(found.text_cache_bytes))
    table.add_row(f"latent cache, {images}", size(found.latent_cache_bytes))
    return table


def spent(found: Estimate, without: tuple[str, ...]) -> tuple[str, str]:
    hours = found.hours(without)
    return f"{hours:,.1f}", f"{hours * found.assumptions.devices:,.0f}"


def gmac(flops: float | None) -> str:
    """FLOPs as 10⁹ multiply-accumulates."""
    return "" if flops is None else f"{flops / 2e9:,.2f}"


def gib(value: int) -> str:
    return f"{value / GIB:,.2f}"


def fits(memory: Memory, usable: int) -> str:
    return gib(memory.total) + ("" if memory.total <= usable else " (too much)")


def size(value: int) -> str:
    """Bytes in the decimal units that disks are sold in."""
    for unit, factor in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6)):
        if value >= factor:
            return f"{value / factor:,.1f} {unit}"
    return f"{value / 1e3:,.1f} kB"

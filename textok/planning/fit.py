"""Checks of whether the parts of a plan fit each other: model, batch, length, precision, memory."""

from __future__ import annotations

import os
from collections.abc import Iterator

import torch

from textok.modules import TokenizerModule
from textok.planning.gpus import GIB, Gpu
from textok.planning.memory import Memory
from textok.planning.plan import Finding, Plan, configured_devices
from textok.planning.rehearsal import HALVES
from textok.runs.messages import cause


def model_builds(plan: Plan) -> Iterator[Finding]:
    """The model's choices fit each other and the data's sizes: divisibility above all."""
    try:
        trained = sum(p.numel() for p in plan.module.trained.parameters())
    except (ValueError, OSError, ImportError) as error:
        yield Finding(
            "error", f"the model cannot be built: {cause(error)}", "change one of the two numbers or classes named"
        )
        return
    yield Finding("note", f"{trained / 1e6:,.2f} M parameters are trained and averaged")


def batch_fits_data(plan: Plan) -> Iterator[Finding]:
    """An epoch has a batch for each process, and a step is told in images and epochs."""
    num_images, batch_size = len(plan.data.splits.train), plan.data.batch_size
    if batch_size * plan.world > num_images:
        what = f"{plan.world} processes with batch_size {batch_size} need more than the {num_images:,} training images"
        yield Finding("error", what, f"set data.init_args.batch_size to at most {max(1, num_images // plan.world)}")
        return
    steps = plan.config.trainer.max_steps
    step = batch_size * plan.world * plan.module.accumulate
    yield Finding("note", f"a step sees {step:,} images; {steps:,} steps are {steps * step / num_images:,.1f} epochs")
    lost = num_images % (batch_size * plan.world)
    if lost > num_images // 10:
        what = f"{lost:,} of {num_images:,} training images do not fill a batch and are left out of each epoch"
        yield Finding("warning", what, "choose a batch_size that divides the number of images better")


def processes_match_job(plan: Plan) -> Iterator[Finding]:
    """In a Slurm job, the run has a process for each of its tasks."""
    job, trainer = os.environ, plan.config.trainer
    if "SLURM_JOB_ID" not in job:
        return
    nodes, tasks = int(job.get("SLURM_NNODES", 1)), int(job.get("SLURM_NTASKS", 1))
    if tasks > 1 and "SLURM_NTASKS_PER_NODE" not in job:
        yield Finding("error", f"the job has {tasks} tasks, by --ntasks", "ask sbatch for --ntasks-per-node instead")
        return
    each = int(job.get("SLURM_NTASKS_PER_NODE", 1))
    if trainer.num_nodes != nodes:
        what = f"trainer.num_nodes is {trainer.num_nodes}, and the job has {nodes} nodes"
        yield Finding("error", what, f"set --trainer.num_nodes {nodes}")
    if trainer.devices == "auto":
        devices = torch.accelerator.device_count() if trainer.accelerator != "cpu" else 0
        what = f"trainer.devices is auto, which is {max(1, devices)} here"
    else:
        devices = configured_devices(trainer) // trainer.num_nodes
        what = f"trainer.devices is {trainer.devices}"
    if max(1, devices) != each:
        yield Finding("error", f"{what}, and the job has {each} tasks a node", f"set --trainer.devices {each}")


def length_fits_schedules(plan: Plan) -> Iterator[Finding]:
    """The run is long enough for its warm-up and its discriminator."""
    steps, model = plan.config.trainer.max_steps, plan.config.model.init_args
    if steps < 1:
        yield Finding("error", f"trainer.max_steps is {steps}", "set it: schedules end there")
        return
    warmup = getattr(model.schedule, "init_args", {}).get("warmup_steps", 0)
    if warmup > steps:
        what = f"the warm-up of {warmup:,} steps is longer than the run of {steps:,}"
        yield Finding("error", what, "lower model.init_args.schedule.init_args.warmup_steps")
    if isinstance(plan.module, TokenizerModule) and plan.module.discriminator is not None:
        start = plan.module.stage.start
        if start >= steps:
            what = f"the discriminator starts at step {start:,}, and the run ends at {steps:,}"
            yield Finding("warning", what, "lower model.init_args.stage.start, or set discriminator to null")


def precision_fits_hardware(plan: Plan) -> Iterator[Finding]:
    """The accelerator exists and computes in the chosen precision."""
    precision, accelerator = plan.config.trainer.precision, plan.config.trainer.accelerator
    if accelerator in ("gpu", "cuda") and plan.named_gpu is None and not torch.cuda.is_available():
        remedy = "check it on the machine it shall run on, or say which one with --gpu"
        yield Finding("error", "trainer.accelerator is gpu, and this machine has none", remedy)
    if str(precision) in HALVES:
        yield Finding("error", f"trainer.precision {precision} rounds small updates away", "use bf16-mixed or 16-mixed")
    elif str(precision).startswith("16") and plan.is_sharded:
        what = f"trainer.precision {precision} cannot be used with sharded weights"
        remedy = "use bf16-mixed, or configs/overlays/ddp.yaml instead of fsdp.yaml"
        if plan.named_gpu is not None and plan.named_gpu.bf16 is None:
            remedy = "use configs/overlays/ddp.yaml instead of fsdp.yaml, or 32-true"
        yield Finding("error", what, remedy)
    gpu = plan.named_gpu
    if gpu is None:
        return
    if accelerator == "cpu":
        what = f"trainer.accelerator is cpu, and a {gpu.name} is planned"
        yield Finding("warning", what, "add -c configs/overlays/gpu.yaml")
    if str(precision).startswith("bf16") and gpu.bf16 is None:
        remedy = "use 32-true there, or ddp.yaml with 16-mixed" if plan.is_sharded else "use 16-mixed there"
        yield Finding("error", f"{gpu.name} has no bfloat16 (trainer.precision {precision})", remedy)
    if str(precision).startswith("32") and gpu.bf16 is not None:
        what = (
            f"trainer.precision {precision} uses {gpu.fp32 / gpu.bf16:.0%} of the rate that {gpu.name} has in bfloat16"
        )
        yield Finding("warning", what, "--trainer.precision=bf16-mixed")


def strategy_fits_model(plan: Plan) -> Iterator[Finding]:
    """The strategy has what the model's losses and options need."""
    module = plan.module
    if plan.is_sharded and isinstance(module, TokenizerModule) and module.stage.adaptive:
        what = "stage.adaptive needs the gradient at the pair's last layer, which a sharded pair has in parts"
        yield Finding("error", what, "set it false, or use configs/overlays/ddp.yaml instead of fsdp.yaml")
    if module.shard_text_encoder and not plan.is_sharded:
        what = "shard_text_encoder spreads the text encoder as FSDP spreads weights, and this strategy spreads none"
        yield Finding("error", what, "add -c configs/overlays/fsdp.yaml, or set it false")


def memory_fits_device(plan: Plan) -> Iterator[Finding]:
    """A step's peak fits the GPU's memory under the configured strategy, with checkpointed blocks if so configured."""
    gpu = plan.named_gpu
    if gpu is None:
        yield Finding("note", "not checked: say which GPU with --gpu")
        return
    found, kind = plan.estimate, "fsdp" if plan.is_sharded else "ddp"
    memory = (found.memory_checkpointed if plan.module.checkpoint_blocks else found.memory)[kind]
    need = memory.total
    have = f"{gpu.name} has {told(gpu.usable)} usable ones"
    if need <= gpu.usable:
        yield Finding("note", f"a step needs {told(need)} GiB, {have}")
        return
    what = f"a step with {found.batch_size} images needs {told(need)} GiB, {have}"
    fitting = largest_batch(memory, found.batch_size, gpu)
    if fitting:
        times = -(-found.batch_size // fitting)
        remedy = f"about {fitting} images fit: lower batch_size and set model.init_args.accumulate to {times}"
    elif found.memory_checkpointed["fsdp"].total <= gpu.usable:
        remedy = "add -c configs/overlays/fsdp.yaml and set model.init_args.checkpoint_blocks true: that fits"
    else:
        remedy = "take a smaller model, or a GPU with more memory"
    yield Finding("error", what, remedy)


def largest_batch(memory: Memory, batch_size: int, gpu: Gpu) -> int:
    """About how many images fit; 0 where not even one does. Activations are taken as proportional to the batch."""
    left = gpu.usable - (memory.total - memory.activations)
    return max(0, int(left / (memory.activations / batch_size)))


def told(value: int) -> str:
    return f"{value / GIB:.1f}"

"""The checks of ``textok doctor``, in the order they are made."""

from __future__ import annotations

from argparse import ArgumentError
from collections.abc import Callable, Iterator
from pathlib import Path

from textok.planning.configuration import parse
from textok.planning.fit import (
    batch_fits_data,
    length_fits_schedules,
    memory_fits_device,
    model_builds,
    precision_fits_hardware,
    processes_match_job,
    strategy_fits_model,
)
from textok.planning.gpus import Gpu
from textok.planning.plan import Finding, Plan
from textok.planning.resources import (
    captions_cover,
    data_load,
    disk_has_room,
    files_exist,
    stage_1_fits,
    weights_are_there,
)
from textok.runs.messages import explain

Check = Callable[[Plan], Iterator[Finding]]

#: Name → check, and the checks whose errors make it impossible.
CHECKS: dict[str, tuple[Check, tuple[str, ...]]] = {
    "files": (files_exist, ()),
    "model": (model_builds, ()),
    "data": (data_load, ()),
    "captions": (captions_cover, ("model", "data")),
    "weights": (weights_are_there, ("model",)),
    "stage 1": (stage_1_fits, ("model",)),
    "batch": (batch_fits_data, ("model", "data")),
    "slurm": (processes_match_job, ()),
    "length": (length_fits_schedules, ("model",)),
    "precision": (precision_fits_hardware, ()),
    "strategy": (strategy_fits_model, ("model",)),
    "memory": (memory_fits_device, ("model", "data", "length")),
    "disk": (disk_has_room, ("model", "data", "length")),
}


def examine_options(
    options: list[str], gpu: Gpu | None = None, devices: int | None = None, folder: Path | None = None
) -> Iterator[tuple[str, Finding]]:
    """Parse a configuration and make every check; what does not parse is a finding, too.

    Args:
        options: ``-c FILE`` and options, as for ``fit``.
        gpu: The kind of GPU it shall run on; None for this machine.
        devices: How many of them; None takes the configuration's.
        folder: The run's folder; if it holds a configuration, that one comes first.
    """
    holds_run = folder is not None and (folder / "config.yaml").is_file()
    try:
        cli = parse(options, folder if holds_run else None)
    except ArgumentError as error:
        yield "syntax", Finding("error", explain(str(error)), "correct the key; nothing else was checked")
        return
    yield from examine(Plan(cli, gpu, devices, folder))


def examine(plan: Plan) -> Iterator[tuple[str, Finding]]:
    """Make every check that can be made; one that cannot is told as a note, and one that finds nothing as ok."""
    failed: set[str] = set()
    for name, (check, needs) in CHECKS.items():
        broken = [need for need in needs if need in failed]
        if broken:
            yield name, Finding("note", f"not checked: it needs the {' and the '.join(broken)}")
            continue
        findings = list(check(plan))
        if any(finding.severity == "error" for finding in findings):
            failed.add(name)
        yield from ((name, finding) for finding in findings)
        if not findings:
            yield name, Finding("ok", " ".join(check.__doc__.split()))

"""A sweep as a SLURM job array: one task a cell."""

from __future__ import annotations

import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from textok.storage import write_atomic


def write_job_array(
    path: Path, name: str, tasks: Sequence[int], arguments: Sequence[str], logs: Path, options: Sequence[str] = ()
) -> Path:
    """Write the batch script.

    Args:
        path: The script.
        name: The job's name.
        tasks: Numbers of the cells that are to be done.
        arguments: Command line after ``textok``; ``--task`` comes behind it.
        logs: Folder of the tasks' output.
        options: Options of sbatch, such as ``--gpus=8``.
    """
    command = shlex.join([sys.executable, "-m", "textok", *arguments])
    lines = [
        "#!/bin/bash",
        f"#SBATCH --job-name={name}",
        f"#SBATCH --array={','.join(map(str, tasks))}",
        f"#SBATCH --output={logs.resolve()}/slurm_%A_%a.log",
        *(f"#SBATCH {option}" for option in options),
        "# Started again, a task goes on from its run's last checkpoint; what is finished is skipped.",
        f"cd {shlex.quote(str(Path.cwd()))} || exit 1",
        f'exec {command} --task "$SLURM_ARRAY_TASK_ID"',
    ]
    logs.mkdir(parents=True, exist_ok=True)
    write_atomic(path, "\n".join(lines) + "\n")
    return path


def submit(script: Path) -> str | None:
    """Hand the script to sbatch.

    Returns:
        What sbatch says; None where there is no sbatch.

    Raises:
        OSError: If sbatch refuses.
    """
    sbatch = shutil.which("sbatch")
    if sbatch is None:
        return None
    found = subprocess.run([sbatch, str(script)], capture_output=True, text=True)
    if found.returncode != 0:
        raise OSError(f"sbatch refused {script}: {found.stderr.strip() or found.stdout.strip()}")
    return found.stdout.strip()

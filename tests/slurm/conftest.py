"""A cluster of two nodes on this host, and tiny runs for it."""

import os
import shutil
import sys
import tempfile
from pathlib import Path

import pytest
import tiny

sys.path.insert(0, str(Path(__file__).parent))
from cluster import Cluster, missing

REPOSITORY = Path(__file__).parents[2]
#: Steps of a run, of which an epoch has twelve; it saves in every fourth epoch and when it is told to end.
STEPS = 100


@pytest.fixture(scope="session")
def cluster():
    """A running cluster; what uses it is skipped where Slurm is not installed."""
    if missing() or os.geteuid() != 0:
        pytest.skip(
            f"a Slurm cluster needs root and Debian's slurmctld, slurmd, slurm-client and munge; "
            f"not found: {', '.join(missing()) or 'root'}"
        )
    folder = Path(tempfile.mkdtemp(prefix="slurm-"))  # not pytest's: its names are too long for sockets
    with Cluster(folder) as running:
        # As on a login node: textok's environment is active, and jobs inherit it.
        path = os.pathsep.join([str(folder / "bin"), str(Path(sys.executable).parent), running.environment["PATH"]])
        python_path = os.pathsep.join([str(REPOSITORY), str(Path(__file__).parent)])
        running.environment |= {"PATH": path, "PYTHONPATH": python_path, "OMP_NUM_THREADS": "1"}
        (folder / "bin").mkdir()
        command = folder / "bin" / "textok"
        command.write_text(f'#!/bin/sh\nexec {sys.executable} -m textok "$@"\n')
        command.chmod(0o755)
        yield running
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def options(tmp_path_factory, t5_folder):
    """Makes the options of a tiny fit of a stage: ``options(stage, run)``."""
    folder = tmp_path_factory.mktemp("configs")
    callbacks = [{"class_path": "textok.callbacks.Watchdog"}, {"class_path": "pause.Pause"}]
    shared = {"schedule": {"init_args": {"warmup_steps": 2}}}
    tiny.both(
        folder,
        t5_folder,
        shared | {"discriminator": None, "stage": {"start": 1000}},
        shared | {"tokenizer_checkpoint": str(tmp_path_factory.getbasetemp() / "two_nodes")},
        trainer={"max_steps": STEPS, "val_check_interval": 1000, "callbacks": callbacks},
        checkpoint={"every_n_train_steps": 48, "save_top_k": -1},
        data={"num_train": 50, "num_val": 9, "batch_size": 2, "num_workers": 1},
    )

    def made(stage, run, *more):
        return [*tiny.overlaid(folder, stage), "--run", str(run), *more]

    return made

"""Runs that are killed (SIGKILL) at any moment of training and started again by the same command.

More kills than the few of everyday, each at a step drawn for it:

    TEXTOK_TEST_KILLS=20 python -m pytest -m slow tests/test_exact_resume.py
"""

import os
import random
import shutil
import signal
import time
import traceback
from pathlib import Path

import pytest
import tiny
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from textok.callbacks.curves import read_curves
from textok.cli import main
from textok.modules import TrainingModule

pytestmark = pytest.mark.slow

STEPS = 15
#: Kills of each stage, one kind of moment after another.
KILLS = int(os.environ.get("TEXTOK_TEST_KILLS", "6"))
#: What measures time differs between any two runs.
TIMED = ("train/images_per_second", "train/matmul_fraction")


@pytest.fixture(scope="module")
def runs(tmp_path_factory, t5_folder):
    """A folder with overlays for tiny runs of both stages, which have everything on, and one undisturbed run each."""
    folder = tmp_path_factory.mktemp("resume")
    shared = {"schedule": {"init_args": {"warmup_steps": 2}}, "accumulate": 2}
    tiny.both(
        folder,
        t5_folder,
        shared | {"stage": {"warmup": 2}},
        shared | {"tokenizer_checkpoint": str(folder / "tokenizer")},
        trainer={"max_steps": STEPS, "val_check_interval": 12},
        checkpoint={"every_n_train_steps": 3},
        data={"num_train": 28, "num_val": 8, "num_workers": 2},
    )
    for stage in ("tokenizer", "generator"):
        assert main(command(folder, stage, stage)) == 0
    return folder


def command(folder: Path, stage: str, run: str) -> list[str]:
    return ["fit", *tiny.overlaid(folder, stage), "--run", str(folder / run)]


#: Where a process is killed: method of the module, and the steps behind which it can be.
POINTS = {
    "training_step": range(STEPS),
    "update": range(1, STEPS),
    "_log_step": range(1, STEPS),
    "log_validation": (6, 12),  # a checkpoint of the same step is there already
}


def killed(args: list[str], step: int, method: str) -> None:
    """Run ``main`` in a process of its own, which is killed in a method of the module when so many steps are done."""
    pid = os.fork()
    if pid == 0:  # everything here ends in _exit: the child must not go on with the parent's tests
        try:
            torch.set_num_threads(1)  # threads do not survive a fork
            original = getattr(TrainingModule, method)

            def deadly(self, *arguments, **named):
                result = original(self, *arguments, **named)
                if self.global_step == step:
                    os.kill(os.getpid(), signal.SIGKILL)
                return result

            setattr(TrainingModule, method, deadly)
            main(args)
        except BaseException:
            traceback.print_exc()
        os._exit(1)
    _, status = os.waitpid(pid, 0)
    assert os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL, "the process was not killed"


def everything(run: Path) -> dict[str, torch.Tensor]:
    """All tensors of the last checkpoint: weights, averages, LeCAM's, both optimisers' states."""
    found = {}

    def walk(value, at):
        if isinstance(value, torch.Tensor):
            found[at] = value
        elif isinstance(value, dict):
            for key, inner in value.items():
                walk(inner, f"{at}.{key}")
        elif isinstance(value, list | tuple):
            for position, inner in enumerate(value):
                walk(inner, f"{at}.{position}")

    checkpoint = torch.load(run / "checkpoints" / f"step{STEPS:08d}.ckpt", weights_only=True)
    for part in ("state_dict", "optimizer_states", "lr_schedulers"):
        walk(checkpoint[part], part)
    return found


def curves(run: Path) -> list[dict[str, str]]:
    rows = [{name: v for name, v in row.items() if name not in TIMED and v} for row in read_curves(run / "curves.csv")]
    return [row for row in rows if len(row) > 1]


def board(run: Path) -> dict[str, list[tuple[int, float]]]:
    events = EventAccumulator(str(run / "tensorboard"), size_guidance={"scalars": 0}).Reload()
    return {
        tag: [(event.step, event.value) for event in events.Scalars(tag)]
        for tag in events.Tags()["scalars"]
        if tag not in TIMED
    }


@pytest.mark.parametrize("number", range(KILLS))
@pytest.mark.parametrize("stage", ["tokenizer", "generator"])
def test_a_killed_run_ends_as_one_that_was_not(runs, stage, number):
    method = list(POINTS)[number % len(POINTS)]
    step = random.Random(f"{stage} {number}").choice(POINTS[method])
    run = f"{stage}_{number}"
    killed(command(runs, stage, run), step, method)
    # TensorBoard's files are read in the order of the seconds in their names, and a start takes seconds, but for here.
    time.sleep(1)
    assert main(command(runs, stage, run)) == 0
    ours, theirs = everything(runs / stage), everything(runs / run)
    assert ours.keys() == theirs.keys() and len(ours) > 50
    assert [name for name in ours if not torch.equal(ours[name], theirs[name])] == [], f"in {method} behind step {step}"
    assert curves(runs / run) == curves(runs / stage)
    assert board(runs / run) == board(runs / stage)
    shutil.rmtree(runs / run)


@pytest.mark.parametrize("stage", ["tokenizer", "generator"])
def test_a_run_may_be_killed_again_in_the_step_that_it_goes_on_with(runs, stage):
    """Behind the first of its micro-batches the step before is not saved again, with half a step's data gone."""
    run = f"{stage}_twice"
    killed(command(runs, stage, run), 7, "training_step")  # behind the checkpoint of step 6
    killed(command(runs, stage, run), 7, "training_step")
    names = [file.name for file in (runs / run / "checkpoints").iterdir()]
    assert names and not [name for name in names if "-v" in name]
    time.sleep(1)
    assert main(command(runs, stage, run)) == 0
    ours, theirs = everything(runs / stage), everything(runs / run)
    assert [name for name in ours if not torch.equal(ours[name], theirs[name])] == []
    shutil.rmtree(runs / run)

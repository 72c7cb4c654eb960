"""Faults of whole runs through ``main``: divergence, signals, restarts."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import ClassVar

import pytest
import tiny
import torch

from textok.callbacks.curves import read_curves
from textok.cli import main
from textok.losses import L2Loss
from textok.modules import TrainingModule
from textok.types import EXIT_DIVERGED, EXIT_INTERRUPTED, EXIT_REQUEUE

CONFIGS = Path(__file__).parents[1] / "configs"


class PoisonedL2(L2Loss):
    """L2 that is NaN for some batches, known by the sum of their pixels; it notes those it has seen.

    Args:
        poison: A JSON file with the sums.
    """

    seen: ClassVar[list[float]] = []

    def __init__(self, poison: str = "") -> None:
        super().__init__()
        self.poison = json.loads(Path(poison).read_text()) if poison else []

    def forward(self, fake: torch.Tensor, real: torch.Tensor) -> torch.Tensor:
        loss = super().forward(fake, real)
        if torch.is_grad_enabled():
            self.seen.append(float(real.double().sum()))
            if self.seen[-1] in self.poison:
                return loss * float("nan")
        return loss


@pytest.fixture(scope="module")
def command(tmp_path_factory, t5_folder):
    """Makes command lines of a tiny stage 1; ``PoisonedL2`` is its pixel loss."""
    folder = tmp_path_factory.mktemp("faults")
    watchdog = {"class_path": "textok.callbacks.Watchdog", "init_args": {"patience": 2}}
    reconstruction = {"class_path": f"{__name__}.PoisonedL2"}
    options = tiny.options(
        folder,
        "tokenizer",
        t5_folder,
        trainer={"max_steps": 12, "callbacks": [watchdog]},
        checkpoint={"every_n_train_steps": 2, "save_top_k": -1},
        module={"discriminator": None, "reconstruction": reconstruction, "stage": {"start": 100}},
    )
    return lambda run, *more: ["fit", *options, "--run", str(run), *more]


@pytest.fixture(scope="module")
def undisturbed(command, tmp_path_factory):
    """A whole run, and the fingerprints of its batches in the order of its steps."""
    run = tmp_path_factory.mktemp("undisturbed") / "run"
    PoisonedL2.seen.clear()
    assert main(command(run)) == 0
    return run, list(PoisonedL2.seen)


def weights(run: Path, step: int) -> dict[str, torch.Tensor]:
    return torch.load(run / "checkpoints" / f"step{step:08d}.ckpt", weights_only=True)["state_dict"]


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def poisoned(folder: Path, fingerprints: list[float]) -> list[str]:
    (folder / "poison.json").write_text(json.dumps(fingerprints))
    return ["--model.init_args.reconstruction.init_args.poison", str(folder / "poison.json")]


def test_single_broken_steps_are_skipped_and_told(command, undisturbed, tmp_path):
    options = poisoned(tmp_path, [undisturbed[1][4], undisturbed[1][7]])
    assert main(command(tmp_path / "run", *options)) == 0
    rows = read_curves(tmp_path / "run" / "curves.csv")
    counts = {int(row["step"]): float(row["train/skipped_steps"]) for row in rows if row["train/skipped_steps"]}
    assert [counts[step] for step in range(1, 13)] == [0, 0, 0, 0, 1, 1, 1, 2, 2, 2, 2, 2]
    assert same(weights(tmp_path / "run", 4), weights(undisturbed[0], 4))
    assert all(value.isfinite().all() for value in weights(tmp_path / "run", 12).values())


def test_a_diverged_run_ends_and_goes_on_past_its_batches(command, undisturbed, tmp_path, capsys):
    fingerprints = undisturbed[1]
    run, options = tmp_path / "run", poisoned(tmp_path, fingerprints[4:8])
    assert main(command(run, *options)) == EXIT_DIVERGED
    message = capsys.readouterr().err
    assert "steps 5 to 6: 2 updates in a row were not finite" in message and "reconstruction" in message
    assert "goes on from step 4" in message and "Traceback" not in message
    assert json.loads((run / "passed_over.json").read_text()) == [{"step": 4, "batches": 2}]
    # The batches behind them are no better: the second start ends as well, the third finds good ones.
    assert main(command(run, *options)) == EXIT_DIVERGED
    PoisonedL2.seen.clear()
    assert main(command(run, *options)) == 0
    assert PoisonedL2.seen == [*fingerprints[8:12], *PoisonedL2.seen[4:]] and len(PoisonedL2.seen) == 8
    assert [int(row["step"]) for row in read_curves(run / "curves.csv")] == list(range(1, 13))
    # From a checkpoint of before, the same is replayed.
    final = weights(run, 12)
    for file in (run / "checkpoints").glob("*.ckpt"):
        if file.name > "step00000002.ckpt":
            file.unlink()
    assert main(command(run, *options)) == 0
    assert same(weights(run, 12), final)


def test_checkpoints_of_after_the_first_broken_update_are_set_aside(command, undisturbed, tmp_path):
    run, options = tmp_path / "run", poisoned(tmp_path, undisturbed[1][2:9])
    more = ["--checkpoint.every_n_train_steps", "1", "--trainer.callbacks.patience", "4"]
    assert main(command(run, *options, *more)) == EXIT_DIVERGED
    names = sorted(file.name for file in (run / "checkpoints").iterdir())
    assert names[:3] == ["step00000001.ckpt", "step00000002.ckpt", "step00000003.ckpt.diverged"]
    assert all(name.endswith(".diverged") for name in names[2:])
    assert json.loads((run / "passed_over.json").read_text()) == [{"step": 2, "batches": 6}]


@pytest.mark.parametrize(
    ("number", "code"),
    [
        (signal.SIGTERM, EXIT_REQUEUE),
        (signal.SIGINT, EXIT_INTERRUPTED),
        pytest.param(signal.SIGUSR1, EXIT_REQUEUE, marks=pytest.mark.slow),
    ],
)
def test_a_signal_ends_a_run_at_a_whole_step_and_nothing_is_lost(
    command, undisturbed, tmp_path, capsys, monkeypatch, number, code
):
    run, original = tmp_path / "run", TrainingModule.training_step

    def signalled(self, batch, batch_idx):
        if self.global_step == 4:
            os.kill(os.getpid(), number)
        original(self, batch, batch_idx)

    handlers = [signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)]
    with monkeypatch.context() as patch:
        patch.setattr(TrainingModule, "training_step", signalled)
        assert main(command(run)) == code
    message = capsys.readouterr().err
    assert f"{number.name} after step 5" in message and "step00000005.ckpt" in message
    assert [signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)] == handlers
    assert main(command(run)) == 0
    assert same(weights(run, 12), weights(undisturbed[0], 12))
    assert [int(row["step"]) for row in read_curves(run / "curves.csv")] == list(range(1, 13))


@pytest.mark.slow
def test_max_restarts_starts_a_diverged_run_again(command, undisturbed, tmp_path):
    options = poisoned(tmp_path, undisturbed[1][4:8])
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), str(CONFIGS.parent)])}
    args = [sys.executable, "-m", "textok", *command(tmp_path / "run", *options)]
    done = subprocess.run([*args, "--max_restarts", "1"], env=environment, capture_output=True, text=True)
    assert done.returncode == EXIT_DIVERGED and "restart 1 of 1" in done.stderr
    done = subprocess.run([*args, "--max_restarts=1"], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert same(weights(tmp_path / "run", 4), weights(undisturbed[0], 4))


def test_max_restarts_is_refused_where_it_cannot_work(command, tmp_path, capsys, monkeypatch):
    assert main(command(tmp_path / "run", "--max_restarts", "often")) == 1
    assert "--max_restarts must be a number of starts, got 'often'" in capsys.readouterr().err
    monkeypatch.setenv("WORLD_SIZE", "4")
    assert main(command(tmp_path / "run", "--max_restarts", "3")) == 1
    assert "cannot start 4 processes (WORLD_SIZE) together" in capsys.readouterr().err

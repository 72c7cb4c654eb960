"""Two processes of a fit, of which one dies or hangs, and a loader's worker that is killed: what is told, and when."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import tiny
import torch
from lightning.pytorch.callbacks import Callback

from textok.cli import main
from textok.types import EXIT_LOST


class Harm(Callback):
    """Does something to a process in its third step, once.

    Args:
        rank: Which one.
        kind: ``kill`` it, ``stop`` it, let it ``sleep`` in Python, or kill a ``worker`` of its loader.
        mark: File that says that it is done.
    """

    def __init__(self, rank: int, kind: str, mark: str) -> None:
        self.rank, self.kind, self.mark = rank, kind, Path(mark)

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        if trainer.global_rank != self.rank or trainer.global_step != 2 or self.mark.exists():
            return
        self.mark.touch()
        if self.kind == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if self.kind == "stop":
            os.kill(os.getpid(), signal.SIGSTOP)
        if self.kind == "sleep":
            oversleep()
        if self.kind == "worker":
            os.kill(trainer.train_dataloader._iterator._workers[0].pid, signal.SIGKILL)
            time.sleep(1)  # a signal of its end comes at any moment


def oversleep():
    time.sleep(600)


@pytest.fixture
def options(tmp_path, t5_folder):
    """Makes the options of a tiny fit of stage 1 in which something happens."""

    def made(run, rank, kind, *more):
        harm = {"rank": rank, "kind": kind, "mark": str(tmp_path / "done")}
        overlay = tiny.options(
            tmp_path,
            "tokenizer",
            t5_folder,
            trainer={"max_steps": 8, "callbacks": [{"class_path": f"{__name__}.Harm", "init_args": harm}]},
            checkpoint={"every_n_train_steps": 2, "save_top_k": -1},
            module={"discriminator": None, "stage": {"start": 100}},
        )
        return ["fit", *overlay, "--run", str(run), *more]

    return made


def weights(run):
    """Those of the last checkpoint."""
    return torch.load(run / "checkpoints" / "step00000008.ckpt", weights_only=True)["state_dict"]


def assert_same(one, other):
    assert one.keys() == other.keys()
    assert [name for name in one if not torch.equal(one[name], other[name])] == []


#: The process group's timeout in seconds. At the start each rank waits for the other's imports by it, which on a busy
#: machine took more than 15; half of it is how long a hang goes unnoticed.
TIMEOUT = 60


@pytest.fixture
def two(options, tmp_path):
    """Runs the two processes of a fit as Slurm starts them, and gives their exit codes and what each said."""

    def run(rank, kind, name="run"):
        timeout = ["--trainer.strategy", "lightning.pytorch.strategies.DDPStrategy"]
        timeout += [f"--trainer.strategy.timeout=0:{TIMEOUT // 60}:{TIMEOUT % 60}", "--trainer.devices=2"]
        command = [sys.executable, "-m", "textok", *options(tmp_path / name, rank, kind, *timeout)]
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        shared = {"SLURM_JOB_NAME": "t", "SLURM_JOB_ID": "1", "SLURM_NTASKS": "2", "SLURM_NTASKS_PER_NODE": "2"}
        shared |= {"SLURM_NNODES": "1", "SLURM_NODEID": "0", "SLURM_STEP_ID": "0", "OMP_NUM_THREADS": "1"}
        shared |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
        shared["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).parent), str(tiny.CONFIGS.parent)])
        processes = []
        for number in range(2):
            own = {"SLURM_PROCID": str(number), "SLURM_LOCALID": str(number)}
            with open(tmp_path / f"{number}.log", "w") as log:
                processes.append(
                    subprocess.Popen(command, env=os.environ | shared | own, stdout=log, stderr=subprocess.STDOUT)
                )
        if kind == "stop":  # it never ends by itself
            codes = [process.wait(300) for number, process in enumerate(processes) if number != rank]
            processes[rank].kill()
            codes.insert(rank, processes[rank].wait(10))
        else:
            codes = [process.wait(300) for process in processes]
        return codes, [(tmp_path / f"{number}.log").read_text() for number in range(2)]

    return run


def assert_nothing_is_lost(two, folder, *harm):
    """The same command goes on, and ends as a run that nothing has happened to."""
    assert two(*harm)[0] == two(*harm, "undisturbed")[0] == [0, 0]
    assert_same(weights(folder / "run"), weights(folder / "undisturbed"))


@pytest.mark.slow
def test_a_rank_that_is_killed_is_named_by_the_other(two, tmp_path):
    codes, said = two(1, "kill")
    assert codes == [EXIT_LOST, -signal.SIGKILL], said
    assert "textok fit: rank 0: after step 2: rank 1 is gone (" in said[0] and "Traceback" not in said[0]
    assert_nothing_is_lost(two, tmp_path, 1, "kill")


@pytest.mark.slow
def test_a_rank_that_is_killed_is_named_by_the_other_if_it_is_the_first(two):
    codes, said = two(0, "kill")
    assert codes == [-signal.SIGKILL, EXIT_LOST], said
    assert "textok fit: rank 1: after step 2: rank 0 is gone (" in said[1] and "Traceback" not in said[1]


@pytest.mark.slow
def test_a_rank_that_hangs_is_named_with_its_line(two, tmp_path):
    codes, said = two(1, "sleep")
    assert codes == [EXIT_LOST, EXIT_LOST], said
    assert "after step 2: rank 1 hangs at tests/test_lost_processes.py:" in said[0]
    assert "(oversleep); rank 0 waits at" in said[0] and "Traceback" not in said[0] + said[1]
    assert "oversleep" in (tmp_path / "run" / "stalls" / "rank1.txt").read_text()
    assert "textok fit" not in said[1], "one speaks for all"
    assert_nothing_is_lost(two, tmp_path, 1, "sleep")


@pytest.mark.slow
@pytest.mark.parametrize("rank", [0, 1])
def test_a_rank_that_is_frozen_is_named(two, rank):
    codes, said = two(rank, "stop")
    assert codes[1 - rank] == EXIT_LOST, said
    assert f"rank {rank} does not answer; rank {1 - rank} waits at" in said[1 - rank]


def test_a_killed_worker_is_told_in_a_line_and_the_run_goes_on(options, tmp_path, capsys):
    more = ["--data.num_workers", "2"]
    run = tmp_path / "run"
    assert main(options(run, 0, "worker", *more)) == EXIT_LOST
    message = capsys.readouterr().err
    # Batches that were read before are trained on: the loss is noticed in that step or in one of the next.
    step = int(
        re.search(r"textok fit: after step (\d+): a worker process of the data loader is gone \(pid ", message)[1]
    )
    assert 2 <= step < 8 and "want of memory" in message and "Traceback" not in message
    assert main(options(run, 0, "worker", *more)) == 0
    assert main(options(tmp_path / "undisturbed", 0, "worker", *more)) == 0
    assert_same(weights(run), weights(tmp_path / "undisturbed"))

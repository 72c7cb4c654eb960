"""The batch scripts on a real Slurm of two nodes: fits, pre-emption, the loss of a node, evaluation."""

import json
import re
from pathlib import Path

import pytest
import torch
import yaml

from textok.callbacks.curves import read_curves

pytestmark = pytest.mark.slow

REPOSITORY = Path(__file__).parents[2]
STEPS = 100
#: This host has no GPUs, and two nodes of two CPUs.
SMALL = ("--nodes=2", "--ntasks-per-node=1", "--gpus-per-node=0", "--cpus-per-task=1", "--time=30")


@pytest.fixture(scope="module")
def submit(cluster, tmp_path_factory):
    """Submits a script from the clone and gives the job's number and its log."""
    logs = tmp_path_factory.mktemp("logs")

    def sbatch(script, *arguments, ask=SMALL):
        command = ["sbatch", "--parsable", f"--chdir={REPOSITORY}", f"--output={logs}/%j.log", *ask]
        number = cluster.run(*command, REPOSITORY / "scripts" / "slurm" / script, *arguments)
        return number, logs / f"{number}.log"

    return sbatch


@pytest.fixture(scope="module")
def ended(cluster):
    """Waits until a job has ended, and fails with its log if it did so in another state than that expected."""

    def wait(number, log, state="COMPLETED", seconds=180):
        states = ("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL", "PREEMPTED")
        cluster.wait_for(lambda: cluster.job(number)["JobState"] in states, seconds, f"the end of job {number}")
        text = log.read_text()
        assert cluster.job(number)["JobState"] == state, text
        return text

    return wait


@pytest.fixture(scope="module")
def stage_1(submit, ended, options, tmp_path_factory):
    """The undisturbed run of stage 1 on two nodes, and its log."""
    run = tmp_path_factory.getbasetemp() / "two_nodes"
    number, log = submit("nodes.sbatch", *options("tokenizer", run))
    return run, ended(number, log)


def final(run):
    """All tensors of the last checkpoint that training moves."""
    checkpoint = torch.load(run / "checkpoints" / f"step{STEPS:08d}.ckpt", weights_only=True)
    moments = checkpoint["optimizer_states"][0]["state"]
    return checkpoint["state_dict"] | {f"{at}.{name}": value for at, s in moments.items() for name, value in s.items()}


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(torch.as_tensor(a[name]), torch.as_tensor(b[name])) for name in a)


def steps_of(run):
    file = run / "curves.csv"
    return [int(row["step"]) for row in read_curves(file)] if file.is_file() else []


def test_a_fit_of_stage_1_on_two_nodes(stage_1):
    run, log = stage_1
    assert "on 2 nodes, first 127.0.1.1:" in log and "exit code 0: the job ends" in log
    assert "Traceback" not in log
    assert steps_of(run) == list(range(1, STEPS + 1))


def test_a_fit_of_stage_2_on_two_nodes(stage_1, submit, ended, options, tmp_path):
    log = ended(*submit("nodes.sbatch", *options("generator", tmp_path / "run")))
    assert "exit code 0: the job ends" in log
    assert steps_of(tmp_path / "run") == list(range(1, STEPS + 1))


def test_a_preempted_run_comes_back_and_ends_as_an_undisturbed_one(cluster, stage_1, submit, ended, options, tmp_path):
    run = tmp_path / "run"
    number, log = submit("nodes.sbatch", *options("tokenizer", run))
    cluster.wait_for(lambda: len(steps_of(run)) >= 5, 90, "five steps")
    ask = ("--partition=urgent", "--nodes=2", "--exclusive", f"--output={tmp_path}/urgent.log", "--wrap=hostname")
    urgent = cluster.run("sbatch", "--parsable", *ask)
    text = ended(number, log)
    assert cluster.job(urgent)["JobState"] == "COMPLETED" and cluster.job(number)["Restarts"] == "1"
    assert "SIGTERM after step" in text and "exit code 75: back into the queue" in text and "start 1.0" in text
    saved = int(re.search(r"SIGTERM after step (\d+)", text)[1])
    assert 0 < saved < STEPS and saved % 12 != 0, "not in the middle of an epoch"
    assert same(final(run), final(stage_1[0]))
    assert steps_of(run) == list(range(1, STEPS + 1))


def test_a_run_whose_time_limit_is_near_saves_and_comes_back(cluster, stage_1, submit, ended, options, tmp_path):
    run = tmp_path / "run"
    number, log = submit("nodes.sbatch", *options("tokenizer", run))
    cluster.wait_for(lambda: len(steps_of(run)) >= 5, 90, "five steps")
    cluster.run("scancel", "--batch", "--signal=USR1", number)  # what --signal=B:USR1@600 has Slurm do in its time
    text = ended(number, log)
    assert "USR1, the time limit is near" in text and "USR1 after step" in text and "start 1.0" in text
    assert same(final(run), final(stage_1[0]))


def test_a_run_whose_node_is_lost_comes_back_and_ends(cluster, stage_1, submit, ended, options, tmp_path):
    run = tmp_path / "run"
    number, log = submit("nodes.sbatch", *options("tokenizer", run))
    cluster.wait_for(lambda: len(steps_of(run)) >= 50, 90, "fifty steps, of which 48 are saved")
    cluster.kill_node(cluster.nodes[1])
    cluster.wait_for(lambda: cluster.job(number)["Restarts"] == "1", 60, "the requeueing of a job that lost a node")
    cluster.start_node(cluster.nodes[1])
    ended(number, log)
    assert same(final(run), final(stage_1[0]))
    assert steps_of(run) == list(range(1, STEPS + 1))


def test_a_cancelled_run_stays_cancelled_and_has_saved(cluster, submit, ended, options, tmp_path):
    run = tmp_path / "run"
    number, log = submit("one_node.sbatch", *options("tokenizer", run), ask=("--nodes=1", *SMALL[1:]))
    cluster.wait_for(lambda: len(steps_of(run)) >= 5, 90, "five steps")
    cluster.run("scancel", number)
    text = ended(number, log, "CANCELLED")
    assert "SIGTERM after step" in text and "75: not put back into the queue, for the job is" in text
    assert len(list((run / "checkpoints").glob("step*.ckpt"))) == 1


def test_a_sweep_is_a_job_array_with_a_task_a_cell(cluster, options, tmp_path):
    configs = options("tokenizer", tmp_path)[1:-2:2]
    axis = {"name": "n", "key": "model.init_args.textok.init_args.num_latents", "values": [2, 4]}
    short = {"trainer": {"max_steps": 3, "callbacks": [{"class_path": "textok.callbacks.ResultsWriter"}]}}
    evaluate = [{"metrics": [], "captions": ["own"]}]
    sweep = {"title": "t", "configs": [*configs, short], "axes": [axis], "metrics": ["psnr"], "evaluate": evaluate}
    (tmp_path / "s.yaml").write_text(yaml.safe_dump(sweep))
    output = tmp_path / "sweep"
    ask = ["--parsable", f"--chdir={REPOSITORY}", f"--output={tmp_path}/%a.log", "--array=0-1", *SMALL]
    script = REPOSITORY / "scripts" / "slurm" / "sweep.sbatch"
    number = cluster.run("sbatch", *ask, "--nodes=1", script, tmp_path / "s.yaml", "--output", output)
    done = lambda: cluster.run("squeue", "-h", "-j", number) == ""  # noqa: E731
    cluster.wait_for(done, 150, "the end of both tasks")
    logs = "".join(file.read_text() for file in tmp_path.glob("?.log"))
    for n in (2, 4):
        record = json.loads((output / "results" / "runs" / f"{n}_seed0.json").read_text())
        assert record["step"] == 3 and record["metrics"]["psnr"] > 0, logs
    assert logs.count("exit code 0: the job ends") == 2


def test_evaluation_on_two_nodes_gives_the_numbers_of_one_process(cluster, stage_1):
    def numbers(*launcher):
        for file in (stage_1[0] / "evaluation").glob("**/*.json"):
            file.unlink()
        cluster.run(*launcher, "textok", "evaluate", str(stage_1[0]), "--metrics", "[]", "--batch_size", "2")
        (file,) = (stage_1[0] / "evaluation").glob("**/*.json")
        return json.loads(file.read_text())["metrics"]

    assert numbers("srun", "--nodes=2", "--ntasks-per-node=1") == pytest.approx(numbers(), rel=1e-6)

"""What run.sh makes of a command's exit code and of Slurm's signal, with stand-ins for Slurm's own commands."""

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

RUN = Path(__file__).parents[2] / "scripts" / "slurm" / "run.sh"
#: Notes how they are called. ``scontrol show job`` tells of a running job; ``requeue`` fails, so that the script ends
#: instead of waiting for Slurm to end it; ``scancel`` sends its signal to the command, as Slurm does to all steps.
STAND_INS = {
    "scontrol": """
        echo "scontrol $*" >> "$CALLS"
        case "$*" in
          *"show job"*) echo "JobState=RUNNING PreemptTime=None" ;;
          *hostnames*) echo node1 ;;
          requeue*) exit 1 ;;
        esac""",
    "scancel": """
        echo "scancel $*" >> "$CALLS"
        kill -USR1 "$(cat "$CALLS.pid")" """,
}


@pytest.fixture
def start(tmp_path):
    """Starts run.sh with a bash command; its calls of Slurm are read by ``calls``."""
    calls = tmp_path / "calls"
    (tmp_path / "bin").mkdir()
    for name, body in STAND_INS.items():
        (tmp_path / "bin" / name).write_text(f"#!/bin/bash\n{body}\n")
        (tmp_path / "bin" / name).chmod(0o755)
    environment = os.environ | {"PATH": f"{tmp_path}/bin:{os.environ['PATH']}", "CALLS": str(calls)}
    environment |= {"SLURM_JOB_ID": "7", "SLURM_JOB_NODELIST": "node1", "SLURM_JOB_NUM_NODES": "1"}

    def start(command, *options):
        line = ["bash", str(RUN), *options, "bash", "-c", command]
        return subprocess.Popen(line, env=environment, stderr=subprocess.PIPE, text=True)

    start.calls = lambda: calls.read_text() if calls.exists() else ""
    return start


@pytest.mark.parametrize(("good_from", "starts", "code"), [(1, 1, 0), (3, 3, 0), (9, 3, 76)])
def test_a_run_that_its_watchdog_ended_starts_again_in_the_same_job(start, tmp_path, good_from, starts, code):
    count = tmp_path / "count"
    process = start(f'echo >> {count}; [ "$(wc -l < {count})" -ge {good_from} ] || exit 76', "--restarts", "2")
    said = process.communicate(timeout=30)[1]
    assert process.returncode == code, said
    assert len(count.read_text().splitlines()) == starts == said.count(": start 0.")
    assert "requeue" not in start.calls()


def test_the_signal_before_the_time_limit_reaches_the_run_and_requeues_the_job(start, tmp_path):
    process = start('trap "exit 75" USR1; echo $$ > "$CALLS.pid"; while :; do sleep 0.1; done')
    end = time.monotonic() + 20
    while not (tmp_path / "calls.pid").exists():
        assert time.monotonic() < end
        time.sleep(0.05)
    process.send_signal(signal.SIGUSR1)
    said = process.communicate(timeout=30)[1]
    assert "USR1, the time limit is near" in said and "exit code 75: back into the queue" in said
    assert "scancel --signal=USR1 7" in start.calls() and "scontrol requeue 7" in start.calls()
    assert process.returncode == 75


def test_a_failed_run_is_not_started_again(start):
    process = start("exit 1")
    assert "exit code 1: the job ends" in process.communicate(timeout=30)[1]
    assert process.returncode == 1 and "requeue" not in start.calls()

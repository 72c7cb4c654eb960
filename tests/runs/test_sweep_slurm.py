"""The job array of a sweep against a sbatch that writes down what it is given."""

import subprocess

import pytest

from textok.runs.sweep_slurm import submit, write_job_array


@pytest.fixture
def script(tmp_path):
    arguments = ["sweep", "my sweep.yaml", "--output", "out"]
    return write_job_array(tmp_path / "sweep.sbatch", "t", [0, 3], arguments, tmp_path / "logs", ["--gpus=1"])


def fake_sbatch(folder, monkeypatch, body):
    folder.mkdir()
    (folder / "sbatch").write_text(f"#!/bin/sh\n{body}\n")
    (folder / "sbatch").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")


def test_the_script_is_submitted(script, tmp_path, monkeypatch):
    fake_sbatch(tmp_path / "bin", monkeypatch, f'cp "$1" {tmp_path}/got && echo Submitted batch job 7')
    assert submit(script) == "Submitted batch job 7"
    text = (tmp_path / "got").read_text()
    assert "#SBATCH --array=0,3\n" in text and "#SBATCH --gpus=1\n" in text
    assert "sweep 'my sweep.yaml' --output out --task \"$SLURM_ARRAY_TASK_ID\"" in text
    assert subprocess.run(["bash", "-n", str(script)]).returncode == 0


def test_a_refusal_is_told_and_a_missing_sbatch_is_none(script, tmp_path, monkeypatch):
    fake_sbatch(tmp_path / "bin", monkeypatch, "echo no such partition >&2; exit 1")
    with pytest.raises(OSError, match="no such partition"):
        submit(script)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert submit(script) is None

"""What the runner skips, repeats and names; commands leave the files that a training run leaves."""

import json

import pytest
import yaml
from rich.console import Console

from textok.report.sweep_cells import gather
from textok.runs.sweep_plan import SweepPlan
from textok.runs.sweep_results import SweepResults
from textok.runs.sweep_runner import SweepRunner
from textok.types import EXIT_REQUEUE, RunEnded


@pytest.fixture
def sweep(tmp_path):
    """Runs the sweep and gives its failures, its results and the runs that it started."""
    content = {
        "title": "t",
        "configs": ["base.yaml", "quickstart/tokenizer.yaml", "quickstart/pair.yaml"],
        "axes": [{"name": "n", "key": "model.init_args.textok.init_args.num_latents", "values": [2, 4]}],
        "metrics": ["val/psnr"],
        "seeds": [0, 1],
    }
    (tmp_path / "s.yaml").write_text(yaml.safe_dump(content))
    plan, results = SweepPlan(tmp_path / "s.yaml"), SweepResults(tmp_path / "out" / "results")

    def run(broken=(), told_to_end=(), plan=plan, results=results, reuse=()):
        started = []

        def execute(command, log, locks):
            folder = tmp_path / "out" / command[command.index("--run") + 1].rpartition("/")[2]
            started.append(folder.name)
            if folder.name in broken:
                log.parent.mkdir(parents=True, exist_ok=True)
                log.write_text("textok fit: error: out of luck\n")
                return 1
            if folder.name in told_to_end:
                return EXIT_REQUEUE
            folder.mkdir(exist_ok=True)
            record = {"step": 1, "training_seconds": 2.0, "metrics": {"val/psnr": 20.0}}
            (folder / "metrics.json").write_text(json.dumps(record))
            return 0

        runner = SweepRunner(plan, tmp_path / "out", results, execute, Console(quiet=True), reuse)
        return runner.run(plan.cells), started

    return plan, results, run


def test_a_failing_run_is_named_and_alone_tried_again(sweep):
    _, results, run = sweep
    failures, started = run(broken=["4_seed0"])
    assert len(started) == 4 and list(failures) == ["4_seed0"]
    assert "textok fit: error: out of luck" in failures["4_seed0"]
    times = {file: file.stat().st_mtime_ns for file in (results.folder / "runs").iterdir()}
    assert len(times) == 3
    assert run() == ({}, ["4_seed0"])
    assert all(file.stat().st_mtime_ns == time for file, time in times.items())
    assert run() == ({}, [])


def test_a_run_that_was_told_to_end_ends_the_sweep_to_be_put_back_into_the_queue(sweep):
    run = sweep[2]
    with pytest.raises(RunEnded, match="2_seed1: a signal ended textok fit") as ended:
        run(told_to_end=["2_seed1"])
    assert ended.value.exit_code == EXIT_REQUEUE
    failures, started = run()
    assert failures == {} and started[0] == "2_seed1"


def test_results_of_another_configuration_are_found(sweep):
    plan, results, run = sweep
    run()
    assert results.changed(plan.runs()) == {}
    file = results.file(plan.runs()[0])
    record = json.loads(file.read_text())
    record["recipe"]["configs"]["base.yaml"] = "0"
    file.write_text(json.dumps(record))
    assert [line.partition(":")[0] for line in results.changed(plan.runs())["2_seed0"]] == ["configs.base.yaml"]


def test_an_equal_run_of_another_sweep_is_taken_over(sweep, tmp_path):
    run = sweep[2]
    run()
    content = yaml.safe_load((tmp_path / "s.yaml").read_text())
    overlay = {"model": {"init_args": {"textok": {"init_args": {"num_latents": 2}}}}}
    wide = {"model": {"init_args": {"textok": {"init_args": {"num_latents": 2, "width": 64}}}}}
    content["axes"] = [
        {"name": "width", "overlays": [{"name": "narrow", "configs": [overlay]}, {"name": "wide", "configs": [wide]}]}
    ]
    (tmp_path / "other.yaml").write_text(yaml.safe_dump(content | {"seeds": [1, 2]}))
    plan, mine = SweepPlan(tmp_path / "other.yaml"), SweepResults(tmp_path / "mine")
    assert run(plan=plan, results=mine, reuse=[tmp_path / "out"])[1] == ["narrow_seed2", "wide_seed1", "wide_seed2"]
    record = json.loads((mine.folder / "runs" / "narrow_seed1.json").read_text())
    assert record["sweep"] == "s" and record["run"] == "narrow_seed1" and record["values"] == {"width": "narrow"}
    assert mine.changed(plan.runs()) == {}
    assert gather(plan, mine, "").notes == ["runs made by the sweep s: 1"]
    # Measured otherwise it is another run.
    (tmp_path / "third.yaml").write_text(yaml.safe_dump(content | {"evaluate": [{"captions": ["own"]}]}))
    third = SweepPlan(tmp_path / "third.yaml")
    assert third.runs()[0].fingerprint != plan.runs()[0].fingerprint

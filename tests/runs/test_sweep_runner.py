"""What the runner skips, repeats and names; commands leave the files that a training run leaves."""

import fcntl
import json
import threading

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

    def run(broken=(), told_to_end=(), plan=plan, results=results, reuse=(), before=lambda name: None):
        started = []

        def execute(command, log, locks):
            folder = tmp_path / "out" / command[command.index("--run") + 1].rpartition("/")[2]
            before(folder.name)
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


def test_a_tokenizer_is_trained_for_the_generators_that_are_not_taken_over(sweep, tmp_path):
    run = sweep[2]
    content = yaml.safe_load((tmp_path / "s.yaml").read_text()) | {"seeds": [0]}
    stage = {"configs": ["base.yaml", "quickstart/generator.yaml", "quickstart/pair.yaml"]}
    dits = {"name": "dit", "overlays": [{"name": name, "second_stage": [f"dit/{name}.yaml"]} for name in "sb"]}

    def plan_of(name, values):
        axes = [content["axes"][0] | {"values": values}, dits]
        (tmp_path / name).write_text(yaml.safe_dump(content | {"axes": axes, "second_stage": stage}))
        return SweepPlan(tmp_path / name)

    first, here = plan_of("first.yaml", [2]), SweepResults(tmp_path / "out" / "results")
    run(plan=first, results=here)
    here.file(first.runs()[-1]).unlink()  # the larger DiT on two tokens: to be trained, hence its tokenizer as well
    (here.folder / "runs" / "damaged.json").write_text("[")
    second, mine = plan_of("second.yaml", [2, 4]), SweepResults(tmp_path / "mine")
    with pytest.warns(UserWarning, match="damaged.json is passed over"):
        failures, started = run(plan=second, results=mine, reuse=[here.folder])
    assert failures == {}
    assert started == [
        *("2_seed0_tokenizer", "2_b_seed0_generator"),
        *("4_seed0_tokenizer", "4_s_seed0_generator", "4_b_seed0_generator"),
    ]
    assert json.loads(mine.file(second.runs()[1]).read_text())["sweep"] == "first"
    # With nothing left to train on it, the tokenizer is taken over, too.
    with pytest.warns(UserWarning):
        assert run(plan=first, results=SweepResults(tmp_path / "third"), reuse=[mine.folder, here.folder])[1] == []


@pytest.mark.parametrize(
    ("tokens", "order"),
    [([2], ["2_seed0_generator"]), ([2, 4], ["4_seed0_tokenizer", "4_seed0_generator", "2_seed0_generator"])],
    ids=["nothing else is left", "others are left"],
)
def test_a_generator_waits_for_a_tokenizer_that_another_process_trains(sweep, tmp_path, tokens, order):
    run = sweep[2]
    content = yaml.safe_load((tmp_path / "s.yaml").read_text()) | {"seeds": [0]}
    content["axes"][0]["values"] = tokens
    content["second_stage"] = {"configs": ["base.yaml", "quickstart/generator.yaml", "quickstart/pair.yaml"]}
    (tmp_path / "two.yaml").write_text(yaml.safe_dump(content))
    plan, results = SweepPlan(tmp_path / "two.yaml"), SweepResults(tmp_path / "out" / "results")
    tokenizer, generator = plan.runs()[:2]
    lock = tmp_path / "out" / "locks" / f"{tokenizer.name}.lock"
    lock.parent.mkdir(parents=True)
    other = lock.open("w")
    fcntl.flock(other, fcntl.LOCK_EX)

    def ends():
        folder = tokenizer.path(tmp_path / "out")
        folder.mkdir()
        record = {"step": 1, "training_seconds": 2.0, "metrics": {"val/psnr": 20.0}}
        (folder / "metrics.json").write_text(json.dumps(record))
        results.write(tokenizer, plan.name, tmp_path / "out", 0.0)
        other.close()

    def before(name):
        if name == "4_seed0_generator":
            ends()
        assert name != generator.name or results.has(tokenizer)

    if tokens == [2]:
        threading.Timer(0.3, ends).start()
    assert run(plan=plan, results=results, before=before) == ({}, order)


def test_the_order_of_the_options_of_an_evaluation_matters_and_their_files_names_do_not(sweep, tmp_path):
    content = yaml.safe_load((tmp_path / "s.yaml").read_text())

    def fingerprint(*evaluate):
        (tmp_path / "e.yaml").write_text(yaml.safe_dump(content | {"evaluate": list(evaluate)}))
        return SweepPlan(tmp_path / "e.yaml").runs()[0].fingerprint

    for name in "ab":
        (tmp_path / f"{name}.yaml").write_text("captions: [own]")
    none = {"captions": ["empty"]}
    assert fingerprint("a.yaml") == fingerprint("b.yaml") == fingerprint({"captions": ["own"]})
    assert fingerprint("a.yaml", none) == fingerprint(none) != fingerprint(none, "a.yaml") == fingerprint("a.yaml")

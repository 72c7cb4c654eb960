"""Sweep files: the shipped ones parse, and a mistake is told before anything runs."""

from pathlib import Path

import pytest
import yaml

from textok.runs.sweep import read_sweep
from textok.runs.sweep_plan import SweepPlan

CONFIGS = Path(__file__).parents[2] / "configs"
SHIPPED = [
    path
    for path in sorted((CONFIGS / "sweeps").rglob("*.yaml"))
    if "axes" in yaml.safe_load(path.read_text()) and "guidance" not in path.name
]


#: The rest parse as many runs, the full-size ones for seconds each.
FAST = "small/table1.yaml"


@pytest.mark.parametrize(
    "path",
    [pytest.param(path, marks=() if str(path).endswith(FAST) else pytest.mark.slow) for path in SHIPPED],
    ids=lambda path: str(path.relative_to(CONFIGS / "sweeps")),
)
def test_a_shipped_sweep_parses_with_every_run(path):
    plan = SweepPlan(path)
    plan.check(plan.cells)


def test_the_sweep_of_the_guidance_scale_parses_and_asks_for_its_run():
    path = CONFIGS / "sweeps" / "guidance.yaml"
    assert len(read_sweep(path).axes[0].choices()) == 7
    with pytest.raises(ValueError, match="no checkpoint"):
        SweepPlan(path, run="nowhere")


@pytest.fixture
def write(tmp_path):
    """Writes a sweep file that is right but for what is given."""

    def write(**changes):
        content = {
            "title": "t",
            "configs": ["base.yaml", "quickstart/tokenizer.yaml", "quickstart/pair.yaml"],
            "axes": [
                {"name": "tokens", "key": "model.init_args.textok.init_args.num_latents", "values": [2, 4]},
                {"name": "text", "overlays": [{"name": "a"}, {"name": "b", "configs": ["conditioning/none.yaml"]}]},
            ],
            "metrics": ["psnr"],
            "evaluate": [{"captions": ["own"]}],
        }
        path = tmp_path / "mine.yaml"
        path.write_text(yaml.safe_dump(content | changes))
        return path

    return write


def test_cells_are_all_combinations_and_seeds(write):
    plan = SweepPlan(write(seeds=[3, 5]))
    assert [cell.name for cell in plan.cells][:3] == ["2_a_seed3", "2_a_seed5", "2_b_seed3"]
    assert len(plan.cells) == 8 and len(plan.select("4_*")) == 4
    run = plan.cells[2].runs[0]
    assert run.differences()["model.init_args.textok.init_args.num_latents"] == 2
    assert run.differences()["model.init_args.text_encoder"] is None
    assert run.recipe() != plan.cells[0].runs[0].recipe() != plan.cells[1].runs[0].recipe()


def test_cells_that_differ_in_the_second_stage_share_their_tokenizer(write):
    axis = {"name": "dit", "overlays": [{"name": n, "second_stage": [f"dit/{n}.yaml"]} for n in "sb"]}
    stage = {"configs": ["base.yaml", "quickstart/generator.yaml", "quickstart/pair.yaml"]}
    plan = SweepPlan(write(axes=[axis], second_stage=stage))
    plan.check(plan.cells)
    assert [run.name for run in plan.runs()] == ["seed0_tokenizer", "s_seed0_generator", "b_seed0_generator"]
    command = plan.runs()[1].fit_command(Path("out"))
    assert command[command.index("--model.init_args.tokenizer_checkpoint") + 1] == "out/seed0_tokenizer"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"axis": []}, "no key 'axis'"),
        ({"configs": ["bse.yaml"]}, "no bse.yaml.*did you mean base.yaml"),
        ({"metrics": ["rkid2"]}, "no evaluation gives 'rkid2': did you mean rkid"),
        ({"axes": [{"name": "a", "overlays": [{"name": "x"}, {"name": "x"}]}]}, "'x' is there twice"),
        ({"axes": [{"name": "a", "overlays": [{"name": "x/y"}]}]}, "'x/y' of axis a"),
        ({"x": "tokns"}, "no axis: did you mean tokens"),
        ({"baseline": "c"}, "no value of text"),
        ({"seeds": []}, "seeds is empty"),
        ({"run": "somewhere"}, "either configs"),
        ({"axes": [{"name": "a", "key": "model.init_args.clop", "values": [1]}]}, "clop.*did you mean clip"),
        ({"evaluate": [{"captions": ["mine"]}]}, "evaluate of"),
    ],
)
def test_a_mistake_is_told_before_anything_runs(write, changes, message):
    with pytest.raises(ValueError, match=message):
        plan = SweepPlan(write(**changes))
        plan.check(plan.cells)


def test_two_cells_of_one_name_are_refused(write):
    axes = [{"name": n, "overlays": [{"name": "a"}, {"name": "a_a"}]} for n in "pq"]
    with pytest.raises(ValueError, match="'a_a_a_seed0' is there twice"):
        SweepPlan(write(axes=axes))

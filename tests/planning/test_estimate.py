"""What follows from work and memory: hours, sizes on disk, and the command."""

import json
from pathlib import Path

import pytest
import torch

from textok.cli import main
from textok.planning import Assumptions, estimate, find_gpu


@pytest.fixture(scope="module")
def stage1(parsed):
    """The paper's stage 1 on eight H100s, 256 images a step."""
    cli = parsed("paper tokenizer", "--data.init_args.batch_size=32")
    return estimate(cli, Assumptions(find_gpu("h100"), devices=8))


@pytest.mark.slow
def test_a_run_of_the_paper_s_length_is_270_epochs(stage1):
    assert stage1.images_per_step == 256
    assert stage1.epochs == pytest.approx(270, abs=0.01)


@pytest.mark.slow
def test_hours_are_flops_over_rate(stage1):
    flops = {part.name: part.step for part in stage1.parts}
    # Everything in bfloat16 but the penalty, whose float32 convolutions run in TF32.
    half = sum(flops.values()) - flops["gradient penalty"]
    seconds = 32 * (half / (0.4 * 989.4e12) + flops["gradient penalty"] / (0.4 * 494.7e12))
    assert stage1.step_seconds(stage1.phases[1]) == pytest.approx(seconds)
    assert stage1.hours() == pytest.approx(
        (80_000 * stage1.step_seconds(stage1.phases[0]) + 1_271_231 * seconds) / 3600
    )


@pytest.mark.slow
def test_a_text_cache_spares_the_text_encoder_alone(stage1):
    (without,) = stage1.savings.values()
    spared = stage1.hours() - stage1.hours(without)
    flops = next(part.step for part in stage1.parts if part.name == "text encoder")
    assert spared == pytest.approx(1_351_231 * 32 * flops / (0.4 * 989.4e12) / 3600)


@pytest.mark.slow
def test_caches_of_imagenet(stage1):
    assert stage1.text_cache_bytes == 1_281_167 * 128 * 2048 * 2
    assert stage1.latent_cache_bytes == 1_281_167 * 128 * 8 * 4


@pytest.mark.slow
def test_the_page_about_costs_has_these_numbers(stage1):
    rows = (Path(__file__).parents[2] / "docs" / "cost.md").read_text().splitlines()
    cells = next(row for row in rows if row.startswith("| 256², 128 |")).split(" | ")
    pair = stage1.parts[0]
    assert cells[1:3] == [f"{pair.parameters / 1e6:,.1f} M", f"{pair.forward / 2e9:,.2f}"]
    assert float(cells[4]) == pytest.approx(stage1.memory["ddp"].total / 2**30, rel=0.02)
    assert float(cells[7]) == pytest.approx(8 * stage1.hours(), rel=0.02)


def test_twice_the_gpus_see_twice_the_images_in_the_same_time(parsed):
    cli = parsed("generator", more=("conditioning/none",))
    once, twice = (estimate(cli, Assumptions(find_gpu("h100"), devices)) for devices in (8, 16))
    assert twice.images_per_step == 2 * once.images_per_step and twice.hours() == pytest.approx(once.hours())
    assert twice.memory["fsdp"].total < once.memory["fsdp"].total


def test_a_checkpoint_has_the_estimated_size(parsed, tmp_path):
    cli = parsed("generator", "--model.init_args.schedule.init_args.warmup_steps=0", more=("conditioning/none",))
    module = cli.build_model()
    optimizer = module.optimizer([{"params": list(module.dit.parameters())}])
    sum(p.sum() for p in module.dit.parameters()).backward()
    optimizer.step()
    torch.save({"state_dict": module.state_dict(), "optimizer": optimizer.state_dict()}, tmp_path / "file")
    found = estimate(cli, Assumptions(find_gpu("h100")))
    assert found.checkpoint_bytes == pytest.approx((tmp_path / "file").stat().st_size, rel=0.02)


def test_the_command_prints_tables_and_writes_json(options_of, tmp_path, capsys):
    file = tmp_path / "estimate.json"
    args = ["estimate", *options_of("generator", "conditioning/none"), "--gpus", "4", "--gpu", "a100"]
    assert main([*args, "--num_images", "1439", "--json", str(file)]) == 0
    shown = capsys.readouterr().out
    for words in ("DiT", "pair (frozen)", "DDP on 4", "FSDP on 4", "1,200 steps on 4 a100", "latent cache"):
        assert words in shown
    told = json.loads(file.read_text())
    assert told["images_per_step"] == 4 * 32
    assert told["gpu_hours"]["everything in the step"] == pytest.approx(4 * told["hours"]["everything in the step"])


@pytest.mark.parametrize(
    ("option", "message"),
    [
        (["--gpu", "h10"], "there is no GPU 'h10' in the table: did you mean h100?"),
        (["--gpus", "0"], "--gpus must be at least 1, got 0"),
        (["--utilisation", "40"], "--utilisation is a share of the peak rate, in (0, 1], got 40.0"),
        (["--trainer.max_steps=-1"], "trainer.max_steps must be set"),
        (["--model.init_args.textok.init_args.patch_size=7"], "not a multiple of patch_size 7"),
    ],
)
def test_a_mistake_is_told_in_a_line(option, message, options_of, capsys):
    assert main(["estimate", *options_of("generator", "conditioning/none"), *option]) == 1
    error = capsys.readouterr().err
    assert message in error and len(error.splitlines()) == 1


def test_a_run_folder_is_a_configuration(parsed, tmp_path, capsys):
    cli = parsed("generator", more=("conditioning/none",))
    (tmp_path / "config.yaml").write_text(cli.parser.dump(cli.config))
    assert main(["estimate", "--run", str(tmp_path)]) == 0
    assert "1,200 steps" in capsys.readouterr().out
    assert main(["estimate", "--run", str(tmp_path / "none")]) == 1
    assert "is no run folder" in capsys.readouterr().err


def test_no_configuration(capsys):
    assert main(["estimate"]) == 1
    assert "no configuration: give -c FILE" in capsys.readouterr().err

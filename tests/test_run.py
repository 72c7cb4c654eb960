"""Whole runs through ``main``: fit, go on, refuse, validate, test, predict, in both stages."""

import json
from pathlib import Path

import pytest
import tiny
import torch
import yaml
from safetensors.torch import load_file

from textok import load_run
from textok.callbacks.curves import read_curves
from textok.cli import main
from textok.runs.folder import RunFolder
from textok.types import Request


@pytest.fixture(scope="module")
def runs(tmp_path_factory, t5_folder):
    """A folder with overlays that make the quickstart's configurations tiny, and both stages trained by them."""
    folder = tmp_path_factory.mktemp("runs")
    shared = {"text_encoder": {"init_args": {"num_tokens": 64}}}
    tiny.both(
        folder,
        t5_folder,
        shared,
        shared | {"tokenizer_checkpoint": str(folder / "tokenizer")},
        trainer={"max_steps": 6, "val_check_interval": 3},
        checkpoint={"every_n_train_steps": 2},
        data={"num_train": 32, "num_val": 8, "eval_batch_size": 8},
    )
    for stage in ("tokenizer", "generator"):
        assert main(command(folder, stage)) == 0
    return folder


def command(folder: Path, stage: str, *options: str, run: str | None = None) -> list[str]:
    return ["fit", *tiny.overlaid(folder, stage), "--run", str(folder / (run or stage)), *options]


def tensors(file: Path) -> dict[str, torch.Tensor]:
    return torch.load(file, weights_only=True)["state_dict"]


@pytest.mark.parametrize("stage", ["tokenizer", "generator"])
def test_a_run_folder_holds_everything(runs, stage):
    run = runs / stage
    assert [p.name for p in sorted((run / "checkpoints").iterdir())] == ["step00000004.ckpt", "step00000006.ckpt"]
    steps = [int(row["step"]) for row in read_curves(run / "curves.csv")]
    assert steps == sorted(steps) and set(steps) == {1, 2, 3, 4, 5, 6}
    record = json.loads((run / "metrics.json").read_text())
    assert (record["step"], record["images_seen"]) == (6, 24)
    pictures = {p.name for p in (run / "pictures").iterdir()}
    name = "reconstruction" if stage == "tokenizer" else "samples"
    assert {f"{name}.json", f"{name}.png", f"{name}_step00000003.png", f"{name}_step00000006.png"} == pictures
    assert any((run / "tensorboard").iterdir())
    expected = {"val/psnr", "val/psnr_empty", "val/psnr_other", "val/ssim"} if stage == "tokenizer" else {"val/mse"}
    assert expected <= set(record["metrics"])


def test_the_same_command_on_a_finished_run_changes_no_weight(runs):
    file = runs / "tokenizer" / "checkpoints" / "step00000006.ckpt"
    before, curves = file.read_bytes(), (runs / "tokenizer" / "curves.csv").read_text()
    assert main(command(runs, "tokenizer")) == 0
    assert file.read_bytes() == before
    assert (runs / "tokenizer" / "curves.csv").read_text() == curves


def test_the_last_step_is_saved_whatever_the_schedule_of_checkpoints(runs):
    assert main(command(runs, "tokenizer", "--trainer.max_steps", "5", run="odd")) == 0
    names = [path.name for path in sorted((runs / "odd" / "checkpoints").iterdir())]
    assert names == ["step00000004.ckpt", "step00000005.ckpt"]
    assert main(command(runs, "tokenizer", "--trainer.max_steps", "5", run="odd")) == 0


@pytest.mark.parametrize("stage", ["tokenizer", "generator"])
def test_an_interrupted_run_goes_on_to_the_same_bits(runs, stage):
    assert main(command(runs, stage, run=f"{stage}_again")) == 0
    again = runs / f"{stage}_again"
    # As if it had been killed behind step 4: the newest checkpoint is gone, the curves and metrics are not.
    (again / "checkpoints" / "step00000006.ckpt").unlink()
    assert main(command(runs, stage, run=f"{stage}_again")) == 0
    ours, theirs = (tensors(runs / n / "checkpoints" / "step00000006.ckpt") for n in (stage, f"{stage}_again"))
    assert ours.keys() == theirs.keys()
    assert [name for name in ours if not torch.equal(ours[name], theirs[name])] == []
    timing = ("train/images_per_second", "train/matmul_fraction")
    rows = [
        [{k: v for k, v in row.items() if k not in timing} for row in read_curves(runs / n / "curves.csv")]
        for n in (stage, f"{stage}_again")
    ]
    assert rows[0] == rows[1]


def test_a_run_goes_on_from_the_checkpoint_before_a_half_written_one(runs):
    assert main(command(runs, "generator", run="generator_damaged")) == 0
    folder = runs / "generator_damaged" / "checkpoints"
    newest = folder / "step00000006.ckpt"
    newest.write_bytes(newest.read_bytes()[:-100])
    with pytest.warns(UserWarning, match="step00000006.ckpt is damaged"):
        assert main(command(runs, "generator", run="generator_damaged")) == 0
    ours = tensors(runs / "generator" / "checkpoints" / "step00000006.ckpt")
    theirs = tensors(RunFolder(folder.parent).newest_checkpoint())
    assert [name for name in ours if not torch.equal(ours[name], theirs[name])] == []


def test_another_configuration_in_the_same_folder_is_refused(runs, capsys):
    before = {p: p.stat().st_mtime_ns for p in (runs / "tokenizer").rglob("*")}
    assert main(command(runs, "tokenizer", "--model.init_args.clip", "0.5", "--seed_everything", "3")) == 1
    message = capsys.readouterr().err
    assert "seed_everything: 0 → 3" in message
    assert "model.init_args.clip: 1.0 → 0.5" in message
    assert "Traceback" not in message
    assert {p: p.stat().st_mtime_ns for p in (runs / "tokenizer").rglob("*")} == before


def test_validate_repeats_the_numbers_of_training(runs, capsys):
    trained = json.loads((runs / "tokenizer" / "metrics.json").read_text())
    assert main(["validate", "--run", str(runs / "tokenizer")]) == 0
    assert "val/psnr_empty" in capsys.readouterr().out
    after = json.loads((runs / "tokenizer" / "metrics.json").read_text())
    assert after["step"] == trained["step"]
    assert after["metrics"]["val/psnr"] == pytest.approx(trained["metrics"]["val/psnr"], abs=1e-4)


def test_test_writes_its_own_numbers(runs):
    assert main(["test", "--run", str(runs / "tokenizer")]) == 0
    metrics = json.loads((runs / "tokenizer" / "metrics.json").read_text())["metrics"]
    assert metrics["test/psnr"] == pytest.approx(metrics["val/psnr"], abs=1e-4)


@pytest.mark.parametrize(("stage", "field", "shape"), [("tokenizer", "latents", (4, 8)), ("generator", "image", None)])
def test_predict_writes_every_picture_once(runs, stage, field, shape):
    assert main(["predict", "--run", str(runs / stage)]) == 0
    folder = runs / stage / "predictions"
    shards = [load_file(file) for file in sorted(folder.glob("*.safetensors"))]
    found = torch.cat([shard[field] for shard in shards])
    assert found.shape == (32, *(shape or (3, 16, 16)))
    assert sorted(torch.cat([shard["index"] for shard in shards]).tolist()) == list(range(32))


def test_a_loaded_run_samples_without_data_or_trainer(runs):
    state = torch.random.get_rng_state()
    module = load_run(runs / "generator")
    assert torch.equal(torch.random.get_rng_state(), state)
    assert module.generate([Request(index=0, label=2)]).shape == (1, 3, 16, 16)
    raw = load_run(runs / "generator", weights="raw")
    for average, weight in zip(raw.ema.parameters(), raw.dit.parameters()):
        assert torch.equal(average, weight)


def evaluate(runs: Path, stage: str, *options: str, name: str | None = None) -> dict:
    lite0 = ["--extractor", "textok.metrics.Lite0FeatureExtractor", "--extractor.image_size", "32"]
    assert main(["evaluate", str(runs / stage), *lite0, "--cache", str(runs / "references"), *options]) == 0
    name = name or {"tokenizer": "reconstruction", "generator": "generation"}[stage]
    return json.loads((runs / stage / "evaluation" / f"{name}.json").read_text())


def test_evaluation_of_a_tokenizer_repeats_training_and_tells_its_conventions(runs, capsys):
    trained = json.loads((runs / "tokenizer" / "metrics.json").read_text())["metrics"]
    record = evaluate(runs, "tokenizer")
    measured, told = record["metrics"], record["conventions"]
    for name in ("psnr", "ssim", "psnr_empty", "psnr_other"):
        assert measured[name] == pytest.approx(trained[f"val/{name}"], abs=1e-4)
    assert measured["rfed"] > 0 and measured["rked"] > 0 and "rfed_other" in measured
    assert "rfid" not in measured
    assert told["reference"]["split"] == "held-out" and told["num_images"] == 8
    assert len(told["checkpoint_sha256"]) == 64 and told["extractor"]["weights_sha256"]
    assert any("singular covariance" in warning for warning in record["warnings"])
    printed = capsys.readouterr().out
    assert "own caption" in printed and "note: fed: 8 images" in " ".join(printed.split())
    # The reference was kept: a second evaluation reads it, and measures the same.
    assert evaluate(runs, "tokenizer")["metrics"] == measured
    assert "reference: the held-out images" not in capsys.readouterr().out


def test_evaluation_of_the_training_images_leaves_the_numbers_of_the_held_out_ones_alone(runs):
    held_out = evaluate(runs, "tokenizer", "--metrics", "[]")
    record = evaluate(runs, "tokenizer", "--metrics", "[ked]", "--split", "train", name="reconstruction_training")
    told = record["conventions"]
    assert told["split"] == told["reference"]["split"] == "training" and told["num_images"] == 32
    assert record["metrics"]["psnr"] != held_out["metrics"]["psnr"]
    kept = json.loads((runs / "tokenizer" / "evaluation" / "reconstruction.json").read_text())
    assert kept["metrics"] == held_out["metrics"] and kept["conventions"]["split"] == "held-out"


def test_evaluation_of_a_generator_does_not_depend_on_the_batch_size(runs):
    numbers = [
        evaluate(runs, "generator", "--num_samples", "6", "--batch_size", size)["metrics"] for size in ("4", "6")
    ]
    for record in numbers:
        assert record.pop("seconds_per_image") > 0
    told = json.loads((runs / "generator" / "evaluation" / "generation.json").read_text())["conventions"]
    assert told["sampler"]["init_args"]["guidance"]["init_args"]["scale"] == 4.0
    assert told["sampler"]["init_args"]["num_steps"] == 2
    assert numbers[0] == pytest.approx(numbers[1], rel=1e-3)
    assert {"gfed", "gked", "gprecision_lite0"} <= set(numbers[0])


def test_evaluation_loads_the_networks_of_pairs_and_takes_a_reference_file(runs, tmp_path):
    from torchvision.models import vgg16

    from textok.metrics import write_adm

    backbone = vgg16(weights=None).features  # of LPIPS' three the one that 16 pixels are enough for
    torch.save({f"features.{name}": value for name, value in backbone.state_dict().items()}, tmp_path / "vgg.pth")
    images = torch.randint(0, 256, (9, 3, 16, 16), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    write_adm(tmp_path / "reference.npz", [images], 9)
    lpips = {"class_path": "LPIPS", "init_args": {"net": "vgg", "weights": str(tmp_path / "vgg.pth")}}
    own = evaluate(runs, "tokenizer", "--captions", "[own]")["metrics"]
    options = ["--captions", "[own]", "--pairs", json.dumps([lpips]), "--reference", str(tmp_path / "reference.npz")]
    record = evaluate(runs, "tokenizer", *options)
    assert record["metrics"]["lpips"] > 0 and "psnr" not in record["metrics"]
    assert record["conventions"]["pairs"]["lpips"]["weights"] == "vgg.pth"
    assert record["conventions"]["reference"]["file"] == "reference.npz"
    assert record["metrics"]["rked"] != pytest.approx(own["rked"])


def test_callbacks_in_training_measure_what_the_command_does(runs, tmp_path, clip_folder):
    lite0 = {"class_path": "textok.metrics.Lite0FeatureExtractor", "init_args": {"image_size": 32}}
    distances = {"class_path": "textok.metrics.DistributionMetrics", "init_args": {"extractor": lite0}}
    clip = {"class_path": "textok.metrics.CLIPScore", "init_args": {"model": str(clip_folder)}}
    arguments = {"distances": distances, "reference": {"folder": str(runs / "references")}}
    for stage, callbacks in {
        "tokenizer": [("ReconstructionMetrics", {"captions": ["own"], "metrics": [], "clip_score": clip})],
        "generator": [("GenerationMetrics", {"num_samples": 6}), ("TextToImageMetrics", {"clip_score": clip})],
    }.items():
        named = [{"class_path": f"textok.callbacks.{name}", "init_args": arguments | more} for name, more in callbacks]
        (tmp_path / f"{stage}.yaml").write_text(yaml.safe_dump({"trainer": {"callbacks+": named}}))
        assert main(["validate", "--run", str(runs / stage), "-c", str(tmp_path / f"{stage}.yaml")]) == 0
    trained = {stage: json.loads((runs / stage / "metrics.json").read_text()) for stage in ("tokenizer", "generator")}
    options = ["--clip_score", "CLIPScore", "--clip_score.model", str(clip_folder)]
    commands = {
        "reconstruction": ("tokenizer", ["--captions", "[own]", *options]),
        "generation": ("generator", ["--num_samples", "6"]),
        "text_to_image": ("generator", ["--prompts", "captions", *options]),
    }
    for name, (stage, more) in commands.items():
        record = evaluate(runs, stage, *more, name=name)
        shared = {key: v for key, v in record["metrics"].items() if key not in ("seconds_per_image", "psnr", "ssim")}
        assert len(shared) >= 4
        for key, value in shared.items():
            assert trained[stage]["metrics"][f"val/{key}"] == pytest.approx(value, rel=1e-3, abs=1e-6), key
    assert "t2i_clip_score" in shared and record["conventions"]["num_images"] == 8
    told = trained["generator"]["conventions"]
    assert told["val/GenerationMetrics[lite0]"]["num_images"] == 6
    assert told["val/TextToImageMetrics[lite0]"]["reference"]["split"] == "held-out"


def test_raw_weights_are_another_model_and_say_so(runs):
    averaged = evaluate(runs, "tokenizer", "--captions", "[own]", "--metrics", "[]")
    raw = evaluate(runs, "tokenizer", "--captions", "[own]", "--metrics", "[]", "--weights", "raw")
    assert raw["conventions"]["weights"] == "raw" and averaged["conventions"]["weights"] == "averages (EMA)"
    assert raw["metrics"]["psnr"] != averaged["metrics"]["psnr"]
    assert "extractor" not in raw["conventions"]


def test_evaluation_of_no_run_and_of_an_unknown_metric(runs, tmp_path, capsys):
    assert main(["evaluate", str(tmp_path)]) == 1
    assert "is no run folder (it holds no config.yaml)" in capsys.readouterr().err
    lite0 = ["--extractor", "textok.metrics.Lite0FeatureExtractor", "--metrics", "[fid]"]
    assert main(["evaluate", str(runs / "tokenizer"), *lite0]) == 1
    assert "it has no ['fid']" in capsys.readouterr().err
    assert main(["evaluate", str(runs / "tokenizer"), "--extractor", "NoSuch"]) == 2
    assert "extractor: there is no class NoSuch here" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("stage", "options", "message"),
    [
        ("tokenizer", ["--model.init_args.textok.init_args.patch_size", "5"], "not a multiple of patch_size 5"),
        ("tokenizer", ["--model.init_args.textok.init_args.num_latents", "0"], "num_latents must be positive, got 0"),
        ("tokenizer", ["--data.init_args.num_train", "0"], "0"),
        ("tokenizer", ["--data.init_args.batch_size", "64"], "batch_size 64"),
        ("generator", ["--model.init_args.textok.init_args.num_latents", "8"], "shape: tokenizer.queries is (4, 16)"),
        ("generator", ["--model.init_args.tokenizer_checkpoint", "nowhere"], "nowhere is neither a checkpoint nor"),
    ],
)
def test_bad_input_is_one_clear_error(runs, tmp_path, capsys, stage, options, message):
    args = command(runs, stage, *options)
    args[args.index("--run") + 1] = str(tmp_path / "new")
    assert main(args) == 1
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error
    assert "Namespace(" not in error


def test_a_configuration_that_cannot_be_built_does_not_hold_the_folder(runs, tmp_path):
    args = command(runs, "tokenizer", "--model.init_args.textok.init_args.patch_size", "5")
    args[args.index("--run") + 1] = str(tmp_path / "new")
    assert main(args) == 1
    assert not (tmp_path / "new").exists()

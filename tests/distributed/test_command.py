"""``textok fit`` with the shipped overlays on two processes, as torchrun starts them."""

import json
from pathlib import Path

import pytest
import yaml
from fits import commands_on

from textok.cli import main
from textok.modules.weights import read_checkpoint

pytestmark = pytest.mark.slow

CONFIGS = Path(__file__).parents[2] / "configs"


@pytest.fixture(scope="module")
def folder(tmp_path_factory, t5_folder):
    """Overlays for tiny runs of both stages with validation, pictures and a checkpoint every other step."""
    folder = tmp_path_factory.mktemp("ranks")
    shared = {
        "trainer": {"max_steps": 4, "val_check_interval": 4, "log_every_n_steps": 1, "accelerator": "cpu"},
        "checkpoint": {"every_n_train_steps": 2},
        "data": {
            "class_path": "textok.datamodules.ShapesDataModule",
            "init_args": {"image_size": 16, "num_train": 24, "num_val": 6, "batch_size": 4, "num_workers": 0},
        },
    }
    both = {
        "text_encoder": {
            "class_path": "textok.models.T5TextEncoder",
            "init_args": {"name": str(t5_folder), "num_tokens": 200},
        },
        "textok": {"init_args": {"num_latents": 4, "patch_size": 4, "width": 16, "depth": 1, "num_heads": 2}},
        "schedule": {"init_args": {"warmup_steps": 1}},
    }
    stage1 = both | {
        "perceptual": None,
        "discriminator": {"init_args": {"base_width": 4, "multipliers": [1, 2]}},
        "stage": {"start": 1, "warmup": 1},
    }
    stage2 = both | {
        "dit": {"init_args": {"width": 16, "depth": 1, "num_heads": 2}},
        "sampler": {"init_args": {"num_steps": 2}},
    }
    for name, choices in (("tokenizer", stage1), ("generator", stage2)):
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(shared | {"model": {"init_args": choices}}))
    return folder


def command(folder: Path, stage: str, overlay: str, *more: str) -> list[str]:
    files = [CONFIGS / "base.yaml", CONFIGS / "quickstart" / f"{stage}.yaml", CONFIGS / "quickstart" / "pair.yaml"]
    files += [folder / f"{stage}.yaml", CONFIGS / "overlays" / f"{overlay}.yaml"]
    return ["fit", *(part for file in files for part in ("-c", str(file))), "--trainer.devices", "2", *more]


@pytest.mark.parametrize("overlay", ["ddp", "fsdp"])
def test_both_stages(overlay, folder):
    runs = folder / f"{overlay}-tokenizer", folder / f"{overlay}-generator"
    more = ["--trainer.strategy.init_args.save_sharded", "true"] if overlay == "fsdp" else []
    first = command(folder, "tokenizer", overlay, *more, "--run", str(runs[0]))
    second = command(folder, "generator", overlay, *more, "--run", str(runs[1]))
    second += ["--model.init_args.tokenizer_checkpoint", str(runs[0])]
    assert commands_on(2, [first, second], folder) == [0, 0]
    for run in runs:
        checkpoints = sorted((run / "checkpoints").iterdir())
        assert [file.name for file in checkpoints] == ["step00000002.ckpt", "step00000004.ckpt"]
        assert all(file.is_dir() == (overlay == "fsdp") for file in checkpoints)
        assert all(value.isfinite().all() for value in read_checkpoint(checkpoints[-1])["state_dict"].values())
        assert list((run / "pictures").rglob("*.png"))

    # The same command finds nothing left to do; without its last checkpoint it goes on from the one before.
    last = runs[1] / "checkpoints" / "step00000004.ckpt"
    last.rename(folder / f"{overlay}-last.ckpt")
    assert commands_on(2, [second], folder) == [0]
    assert last.exists()

    # What was measured on two processes is what one measures.
    numbers = []
    for measure in (lambda args: commands_on(2, [args], folder), lambda args: [main(args)]):
        one = ["--trainer.devices", "1", "--trainer.strategy", "auto"] if numbers else []
        assert measure(["validate", "--run", str(runs[0]), *one]) == [0]
        numbers.append(json.loads((runs[0] / "metrics.json").read_text())["metrics"])
    assert numbers[0] == pytest.approx(numbers[1], rel=1e-4)

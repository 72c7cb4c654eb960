"""``textok fit`` with the shipped overlays on two processes, as torchrun starts them."""

import json
from pathlib import Path

import pytest
import tiny
from fits import commands_on

from textok.cli import main
from textok.modules.weights import read_checkpoint

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folder(tmp_path_factory, t5_folder):
    """Overlays for tiny runs of both stages with validation, pictures and a checkpoint every other step."""
    folder = tmp_path_factory.mktemp("ranks")
    trainer, checkpoint = {"max_steps": 4, "val_check_interval": 2}, {"every_n_train_steps": 2}
    stage1 = {"stage": {"start": 1}}
    tiny.both(folder, t5_folder, stage1, {}, trainer=trainer, checkpoint=checkpoint, data={"num_train": 24})
    return folder


def command(folder: Path, stage: str, overlay: str, *more: str) -> list[str]:
    overlays = ["-c", str(tiny.CONFIGS / "overlays" / f"{overlay}.yaml")]
    return ["fit", *tiny.overlaid(folder, stage), *overlays, "--trainer.devices", "2", *more]


@pytest.mark.parametrize("overlay", ["ddp", "fsdp"])
def test_both_stages(overlay, folder):
    runs = folder / f"{overlay}-tokenizer", folder / f"{overlay}-generator"
    spread = ["--trainer.strategy.init_args.save_sharded", "true", "--model.init_args.shard_text_encoder", "true"]
    more = spread if overlay == "fsdp" else []
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

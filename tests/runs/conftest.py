"""A small run of stage 1 on shapes with several captions, for what is made from one."""

from pathlib import Path

import pytest
import yaml

from textok.cli import main

CONFIGS = Path(__file__).parents[2] / "configs"


@pytest.fixture(scope="session")
def stage1(tmp_path_factory, t5_folder):
    """The options that ``fit`` got, and the run folder of two steps."""
    folder = tmp_path_factory.mktemp("stage1")
    data = {
        "class_path": "textok.datamodules.ShapesDataModule",
        "init_args": {"image_size": 16, "num_train": 20, "num_val": 6, "batch_size": 4, "eval_batch_size": 6},
    }
    choices = {
        "text_encoder": {
            "class_path": "textok.models.T5TextEncoder",
            "init_args": {"name": str(t5_folder), "num_tokens": 200},
        },
        "textok": {"init_args": {"num_latents": 4, "patch_size": 4, "width": 16, "depth": 1, "num_heads": 2}},
        "perceptual": None,
        "discriminator": None,
        "stage": {"start": 100, "warmup": 1},
        "schedule": {"init_args": {"warmup_steps": 1}},
    }
    tiny = {
        "trainer": {"max_steps": 2, "val_check_interval": 100, "callbacks": []},
        "checkpoint": {"every_n_train_steps": 2},
        "data": data,
        "model": {"init_args": choices},
    }
    (folder / "tiny.yaml").write_text(yaml.safe_dump(tiny))
    files = [CONFIGS / "base.yaml", *(CONFIGS / "quickstart" / f"{name}.yaml" for name in ("tokenizer", "pair"))]
    options = [part for file in [*files, folder / "tiny.yaml"] for part in ("-c", str(file))]
    assert main(["fit", *options, "--run", str(folder / "tokenizer")]) == 0
    return options, folder / "tokenizer"

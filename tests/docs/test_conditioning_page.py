"""The example of docs/conditioning.md runs as it is printed there."""

import re
from pathlib import Path

import pytest
import torch
import yaml

from textok.cli import main
from textok.runs.load import load_run

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "conditioning.md").read_text(encoding="utf-8")


def block_of(language: str) -> str:
    (block,) = re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)
    return block


@pytest.fixture
def example(tmp_path, monkeypatch):
    """The page's two files in a folder where Python finds them."""
    (tmp_path / "mine.py").write_text(block_of("python"), encoding="utf-8")
    (tmp_path / "mine.yaml").write_text(block_of("yaml"), encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def test_the_strategy_on_the_page_trains_two_steps(example, t5_folder):
    # A small random T5 in MiniLM's place, which need not be installed.
    text = {"class_path": "textok.models.T5TextEncoder", "init_args": {"name": str(t5_folder), "num_tokens": 24}}
    small = {
        "trainer": {"max_steps": 2, "limit_val_batches": 0, "callbacks": []},
        "data": {"init_args": {"batch_size": 4, "image_size": 16}},
        "model": {"init_args": {"text_encoder": text, "perceptual": None, "discriminator": None}},
    }
    small["model"]["init_args"]["schedule"] = {"init_args": {"warmup_steps": 1}}
    (example / "small.yaml").write_text(yaml.safe_dump(small), encoding="utf-8")
    configs = [ROOT / "configs" / name for name in ("base.yaml", "quickstart/tokenizer.yaml", "quickstart/pair.yaml")]
    configs += [example / "mine.yaml", example / "small.yaml"]
    options = ["--checkpoint.every_n_train_steps", "2", "--run", str(example / "run")]
    main(["fit", *(part for config in configs for part in ("-c", str(config))), *options])

    module = load_run(example / "run", checkpoint=example / "run" / "checkpoints" / "step00000002.ckpt")
    raw, averaged = (pair.detokenizer.trunk.conditioning for pair in (module.textok, module.ema))
    assert type(raw).__name__ == "PooledCaption" and raw.project[0].out_features == 256
    assert type(module.textok.tokenizer.trunk.conditioning).__name__ == "InContext"
    # They start alike: that they differ shows that the strategy was trained.
    assert not torch.equal(raw.project[0].weight, averaged.project[0].weight)

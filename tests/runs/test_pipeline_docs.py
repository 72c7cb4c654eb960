"""Every example of docs/pipeline.md runs."""

import re
import shlex
from pathlib import Path

from PIL import Image

from textok.cli import main

PAGE = Path(__file__).parents[2] / "docs" / "pipeline.md"


def test_the_examples_run(tmp_path, monkeypatch, stage1, classes_run, text_run):
    (tmp_path / "runs").mkdir()
    for name, run in {"pair": stage1[1], "classes": classes_run, "text": text_run}.items():
        (tmp_path / "runs" / name).symlink_to(run)
    Image.new("RGB", (40, 30), "red").save(tmp_path / "picture.png")
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    blocks = re.findall(r"```(bash|python)\n(.*?)```", PAGE.read_text(), flags=re.S)
    for language, block in blocks:
        if language == "python":
            exec(block, names)
            continue
        for line in block.strip().splitlines():
            assert main(shlex.split(line)[1:]) == 0, line
    assert len(names["pictures"]) == 4
    assert names["arrays"].shape == (4, 16, 16, 3)
    assert (tmp_path / "copied" / "text" / "config.json").is_file()
    assert (tmp_path / "samples" / "samples.npz").is_file()

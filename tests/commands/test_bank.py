"""Public caption sets become a bank in one command, and a bank the captions of classes."""

import json

import pytest

from textok.cli import main
from textok.datamodules import CaptionBank, ShapesDataModule
from textok.modules.class_captions import read_class_captions


def test_several_sets_in_one_command(tmp_path, capsys):
    (tmp_path / "a.jsonl").write_text('{"synset": "n01", "number": 7, "text": "a fish"}\n{"synset": "n01"}\n')
    (tmp_path / "b.csv").write_text("synset,number,text\nn02,3,\nn01,7,two fish\n")
    files = [str(tmp_path / name) for name in ("a.jsonl", "b.csv")]
    command = ["bank", "build", *files, "--output", str(tmp_path / "all.bank"), "--fields.key", "{synset}_{number}"]
    assert main(command) == 1
    assert "a.jsonl, line 2: there is no field number" in capsys.readouterr().err
    assert main([*command, "--skip_bad"]) == 1
    assert "b.csv, line 3: the key 'n01_7' came before, in " in capsys.readouterr().err
    assert main([*command, "--skip_bad", "--repeated", "join"]) == 0
    told = capsys.readouterr().out
    assert "1 images, 2 captions" in told and "1 rows with a key that came before" in told
    assert "1 rows without a caption" in told and "1 rows that could not be used" in told
    assert CaptionBank(tmp_path / "all.bank")["n01_7"] == ["a fish", "two fish"]


def test_captions_of_held_out_images_by_class(tmp_path, capsys):
    config = tmp_path / "data.yaml"
    config.write_text("data: {class_path: ShapesDataModule, init_args: {image_size: 16, num_train: 40, num_val: 40}}")
    assert main(["bank", "classes", "-c", str(config), "--output", str(tmp_path / "classes.json")]) == 0
    data = ShapesDataModule(16, num_train=40, num_val=40)
    data.setup()
    assert read_class_captions(tmp_path / "classes.json", 8) == data.class_captions()
    entries = json.loads((tmp_path / "classes.json").read_text())
    assert [entry["name"] for entry in entries] == data.class_names
    assert f"{sum(map(len, data.class_captions())):,} captions of 8 classes" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[", "is no list of"),
        ('["a"]', "is no list of"),
        ('[{"captions": "a"}]', "captions of class 0 are no list of strings"),
        ('[{"captions": ["a"]}]', "has 1 classes, the data has 8"),
    ],
)
def test_other_files_are_no_class_captions(tmp_path, content, message):
    (tmp_path / "classes.json").write_text(content)
    with pytest.raises(ValueError, match=message):
        read_class_captions(tmp_path / "classes.json", 8)
    with pytest.raises(FileNotFoundError, match="textok bank classes writes such a file"):
        read_class_captions(tmp_path / "none.json", 8)


@pytest.mark.parametrize(
    ("args", "code", "message"),
    [
        (["bank", "build", "--output", "x"], 2, "files"),
        (["bank"], 2, "kind"),
        (["cache", "text", "--output", "x"], 1, "say which data and text encoder: --run FOLDER, or -c FILE"),
        (["cache", "latents", "run", "--output", "x", "--flap"], 2, "unrecognized arguments: --flap"),
        (["cache"], 2, "say which cache: text or latents"),
        (["cache", "latents", "nowhere", "--output", "x"], 1, "nowhere is neither a checkpoint nor a run folder"),
        (["caption", "--output", "x"], 2, "data"),
    ],
)
def test_mistakes_on_the_command_line_are_told_in_a_line(capsys, args, code, message):
    assert main(args) == code
    error = capsys.readouterr().err
    assert message in error and "Traceback" not in error and len(error.splitlines()) <= 2

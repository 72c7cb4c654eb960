"""The commands that a person uses on a trained model, from the command line to the picture."""

import io
import json
import tarfile

import numpy as np
import pytest
from PIL import Image

from textok.cli import main
from textok.metrics.adm import read_adm_images
from textok.runs.export import open_model


@pytest.fixture
def pictures(tmp_path):
    files = [tmp_path / f"{name}.png" for name in ("red", "blue")]
    for file in files:
        Image.new("RGB", (24, 20), file.stem).save(file)
    return [str(file) for file in files]


def test_reconstruct(stage1, pictures, tmp_path):
    one, grid = tmp_path / "one.png", tmp_path / "grid.png"
    assert main(["reconstruct", str(stage1[1]), pictures[0], "--caption", "red", "--output", str(one)]) == 0
    expected = open_model(str(stage1[1]), "cpu").reconstruct(Image.open(pictures[0]), "red", output="numpy")
    assert np.array_equal(np.asarray(Image.open(one)), expected[0])
    assert main(["reconstruct", str(stage1[1]), *pictures, "--output", str(grid)]) == 0
    assert Image.open(grid).size > (256, 256)


def test_encode_and_decode_with_other_words(stage1, pictures, tmp_path):
    model, latents = str(stage1[1]), str(tmp_path / "latents.safetensors")
    made = {name: tmp_path / f"{name}.png" for name in ("direct", "same", "edited")}
    assert main(["encode", model, pictures[0], "--caption", "red", "--output", latents]) == 0
    assert main(["decode", model, latents, "--output", str(made["same"])]) == 0
    assert main(["decode", model, latents, "--caption", "a cat", "--output", str(made["edited"])]) == 0
    assert main(["reconstruct", model, pictures[0], "--caption", "red", "--output", str(made["direct"])]) == 0
    assert made["same"].read_bytes() == made["direct"].read_bytes() != made["edited"].read_bytes()


def test_generate_a_grid(text_run, tmp_path):
    file = tmp_path / "grid.png"
    prompts = ["--prompt", "a red circle", "--prompt", "a blue square"]
    assert main(["generate", str(text_run), *prompts, "--num_images", "2", "--output", str(file)]) == 0
    assert Image.open(file).size > (256, 256)


def sample(run, folder, *options):
    return main(["sample", str(run), "3", "--num_steps", "2", "--output", str(folder), *options])


def test_samples_are_resumed_and_depend_on_their_number_alone(classes_run, tmp_path, killed, contents, capsys):
    assert sample(classes_run, tmp_path / "whole", "--batch_size", "4", "--format", "npz") == 0
    whole = contents(tmp_path / "whole")
    lines = [json.loads(line) for line in whole["samples.jsonl"].decode().splitlines()]
    classes = len({line["label"] for line in lines})
    assert [line["label"] for line in lines] == [*range(classes)] * 3

    options = ("--batch_size", "4", "--format", "npz")
    assert killed(20, lambda: sample(classes_run, tmp_path / "cut", *options))
    some = {name for name in contents(tmp_path / "cut") if name.endswith(".png") and "/." not in name}
    assert 0 < len(some) < len(lines)
    assert sample(classes_run, tmp_path / "cut", *options) == 0
    again = {name: data for name, data in contents(tmp_path / "cut").items() if ".tmp-" not in name}
    assert again.keys() == whole.keys()
    assert all(again[name] == whole[name] for name in whole if not name.endswith(".npz"))
    packed = np.concatenate([batch.numpy() for batch in read_adm_images(tmp_path / "cut" / "samples.npz")])
    shown = [np.asarray(Image.open(io.BytesIO(whole[f"images/{n:06d}.png"]))) for n in range(len(lines))]
    assert np.array_equal(packed.transpose(0, 2, 3, 1), np.stack(shown))

    capsys.readouterr()
    assert sample(classes_run, tmp_path / "cut", *options, "--seed", "1") == 1
    assert "holds samples made with seed 0, not 1" in capsys.readouterr().err


def test_samples_of_captions_as_a_tar(text_run, tmp_path):
    captions = tmp_path / "captions.txt"
    captions.write_text("a red circle\na blue square\n")
    folder = tmp_path / "samples"
    assert sample(text_run, folder, "--captions", str(captions), "--format", "tar") == 0
    with tarfile.open(folder / "samples.tar") as archive:
        names = archive.getnames()
        assert archive.extractfile("000003.txt").read() == b"a blue square"
    assert len(names) == 12
    assert "000005.png" in names


@pytest.mark.parametrize(
    "make, said",
    [
        (lambda f: ["generate", f["classes"], "--label", "99"], "label 99 is out of range"),
        (lambda f: ["generate", f["classes"], "--label", "0", "--guidance", "-1"], "must not be negative, got -1"),
        (lambda f: ["generate", f["classes"], "--label", "0", "--num_steps", "0"], "at least 1, got 0"),
        (lambda f: ["generate", f["classes"], "--label", "0", "--device", "moon"], "--device moon cannot be used"),
        (lambda f: ["generate", f["text"], "--prompt", ""], "prompt 1 of 1 is empty"),
        (lambda f: ["generate", f["folder"], "--label", "0"], "config.json is missing"),
        (lambda f: ["reconstruct", f["pair"], f["folder"] + "/no.png"], "there is no picture"),
        (lambda f: ["reconstruct", f["pair"], f["text_file"]], "is no picture that can be read"),
        (lambda f: ["decode", f["pair"], f["text_file"]], "holds no latents of textok encode"),
        (lambda f: ["sample", f["classes"], "0"], "at least one sample"),
        (lambda f: ["export", f["folder"], f["folder"] + "/x"], "is no run folder"),
    ],
)
def test_bad_input_is_one_line(classes_run, text_run, stage1, tmp_path, capsys, make, said):
    (tmp_path / "text.png").write_text("not a picture")
    places = {"classes": classes_run, "text": text_run, "pair": stage1[1]}
    places |= {"folder": tmp_path, "text_file": tmp_path / "text.png"}
    capsys.readouterr()
    assert main(make({name: str(path) for name, path in places.items()})) == 1
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1


def test_latents_of_another_pair_are_refused(stage1, classes_run, pictures, tmp_path, capsys):
    from safetensors.torch import save_file

    file = tmp_path / "latents.safetensors"
    assert main(["encode", str(stage1[1]), pictures[0], "--output", str(file)]) == 0
    latents = open_model(str(stage1[1]), "cpu").encode(Image.open(pictures[0]))
    save_file({"latents": latents}, file, metadata={"textok_pair": "0" * 64})
    assert main(["decode", str(stage1[1]), str(file)]) == 1
    assert "made by another tokenizer" in capsys.readouterr().err

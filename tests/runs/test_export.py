"""Export: what people load gives exactly the pictures of the run, and nothing of it is a pickle."""

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from textok.cli import main
from textok.pipeline import TexTokPipeline
from textok.pipeline.images import read_picture
from textok.runs.export import pipeline_of_run
from textok.runs.load import load_run
from textok.types import Request, from_uint8

PROMPTS = ["a red circle", "a large blue square on white"]


@pytest.fixture(scope="session")
def exported(tmp_path_factory, stage1, classes_run, text_run):
    """The runs and their exported folders: of the pair, of a class-conditional and of a text-to-image generator."""
    folder = tmp_path_factory.mktemp("exported")
    runs = {"pair": stage1[1], "classes": classes_run, "text": text_run}
    for name, run in runs.items():
        assert main(["export", str(run), str(folder / name)]) == 0
    return {name: (run, folder / name) for name, run in runs.items()}


@pytest.fixture(scope="session")
def pipelines(exported):
    return {name: TexTokPipeline.from_pretrained(folder) for name, (_, folder) in exported.items()}


@pytest.fixture(scope="session")
def picture():
    return torch.randint(0, 256, (3, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("name", ["pair", "classes", "text"])
def test_an_export_reconstructs_the_pixels_of_its_run(exported, pipelines, picture, name):
    images = from_uint8(torch.stack([picture, picture.flip(2)]))
    expected = load_run(exported[name][0]).reconstruct(images, PROMPTS)
    assert torch.equal(pipelines[name].reconstruct(images, PROMPTS, output="tensor"), expected)
    assert not torch.equal(expected[0], expected[1].flip(2))  # the captions matter


def test_an_export_generates_the_pixels_of_its_run_from_labels(exported, pipelines):
    requests = [Request(i, 2, None, seed=7) for i in range(3)]
    expected = load_run(exported["classes"][0]).generate(requests)
    found = pipelines["classes"].generate(label=2, num_images=3, seed=7, output="tensor")
    assert torch.equal(found, expected)
    name = pipelines["classes"].description.class_names[2]
    assert torch.equal(pipelines["classes"].generate(label=name.upper(), num_images=3, seed=7, output="tensor"), found)


def test_an_export_generates_the_pixels_of_its_run_from_prompts(exported, pipelines):
    requests = [Request(i, None, text, seed=3) for text in PROMPTS for i in range(2)]
    expected = load_run(exported["text"][0]).generate(requests)
    found = pipelines["text"].generate(PROMPTS, num_images=2, seed=3, output="tensor")
    assert torch.equal(found, expected)
    assert not torch.equal(found[0], found[2])


def test_saving_again_changes_nothing(exported, pipelines, tmp_path):
    pipelines["text"].generate(PROMPTS[0])  # the text encoder's weights are loaded now, and still not copied
    pipelines["text"].save_pretrained(tmp_path / "text")
    for name in ("config.json", "model.safetensors", "class_captions.json"):
        assert (tmp_path / "text" / name).read_bytes() == (exported["text"][1] / name).read_bytes(), name


def test_the_folder_holds_four_files_and_the_numbers(exported):
    run, folder = exported["classes"]
    assert {p.name for p in folder.iterdir()} == {
        "config.json",
        "model.safetensors",
        "class_captions.json",
        "README.md",
    }
    numbers = json.loads((run / "metrics.json").read_text())["metrics"]
    card = (folder / "README.md").read_text()
    assert numbers and all(f"| {name} | {value:.6g} |" in card for name, value in numbers.items())


def test_kinds_of_pictures_agree(pipelines, picture):
    pipeline = pipelines["pair"]
    array = picture.permute(1, 2, 0).numpy()
    expected = pipeline.encode(picture, "a star")
    for same in (array, array[None], Image.fromarray(array), [Image.fromarray(array)], from_uint8(picture)):
        assert torch.equal(pipeline.encode(same, "a star"), expected)
    pil, arrays = (pipeline.decode(expected, "a star", output=kind) for kind in ("pil", "numpy"))
    assert np.array_equal(np.asarray(pil[0]), arrays[0])
    assert arrays.shape == (1, 16, 16, 3)


def test_calls_are_cut_into_batches_by_memory(exported, picture):
    small = TexTokPipeline.from_pretrained(exported["pair"][1], memory=1e-9)
    assert small.batch_size == 1
    large = TexTokPipeline.from_pretrained(exported["pair"][1])
    images = torch.stack([picture, picture.flip(1), picture.flip(2)])
    torch.testing.assert_close(small.encode(images, "a"), large.encode(images, "a"), rtol=1e-4, atol=1e-5)


def test_other_words_and_settings_change_the_picture(pipelines):
    latents = torch.randn(1, 4, pipelines["pair"].networks.pair.latent_dim)
    plain, edited = (pipelines["pair"].decode(latents, text, output="tensor") for text in ("a dog", "a cat"))
    assert not torch.equal(plain, edited)
    made = [
        pipelines["classes"].generate(label=0, output="tensor", **kwargs)
        for kwargs in ({}, {"seed": 1}, {"guidance": 2.0}, {"num_steps": 3})
    ]
    assert all(not torch.equal(made[0], other) for other in made[1:])


@pytest.mark.parametrize(
    "name, ask, said",
    [
        ("classes", {"label": 99}, "label 99 is out of range"),
        ("classes", {"label": "circel"}, "no class 'circel'.*circle"),
        ("classes", {"prompt": "a dog"}, "reads no text, only classes"),
        ("classes", {}, "a prompt or a label"),
        ("classes", {"label": 0, "guidance": -1.0}, "must not be negative, got -1"),
        ("classes", {"label": 0, "num_steps": 0}, "num_steps must be at least 1, got 0"),
        ("classes", {"label": 0, "num_images": 0}, "num_images must be at least 1, got 0"),
        ("text", {"prompt": "  "}, "prompt 1 of 1 is empty"),
        ("text", {"prompt": "word " * 99}, "496 text tokens, this model reads 200"),
        ("pair", {"label": 0}, "a pair without a generator"),
    ],
)
def test_what_cannot_be_generated_is_refused(pipelines, name, ask, said):
    with pytest.raises(ValueError, match=said):
        pipelines[name].generate(**ask)


def test_what_is_no_picture_and_no_latents_is_refused(pipelines, picture):
    pipeline = pipelines["pair"]
    with pytest.raises(ValueError, match=r"latents are floats of shape \(B, 4, \d+\).*\(1, 5, 8\)"):
        pipeline.decode(torch.zeros(1, 5, 8))
    with pytest.raises(ValueError, match="NaN or infinity"):
        pipeline.decode(torch.full((4, pipeline.networks.pair.latent_dim), torch.nan))
    with pytest.raises(ValueError, match="2 captions for 1 pictures"):
        pipeline.encode(picture, ["a", "b"])
    with pytest.raises(ValueError, match="must have the model's size"):
        pipeline.encode(torch.zeros(3, 8, 8))


@pytest.mark.parametrize("path", ["os.system", "subprocess.Popen", "json.JSONEncoder", "eval"])
def test_a_description_chooses_no_code(exported, tmp_path, path):
    """Even a harmless class of another package is not imported unless the caller names the package."""
    folder = tmp_path / "evil"
    folder.mkdir()
    for file in exported["pair"][1].iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    config = json.loads((folder / "config.json").read_text())
    for value in ({"class_path": path, "init_args": {"command": f"touch {tmp_path}/done"}}, path):
        config["textok"] = value
        (folder / "config.json").write_text(json.dumps(config))
        with pytest.raises(ValueError, match="cannot be used"):
            TexTokPipeline.from_pretrained(folder)
    assert not (tmp_path / "done").exists()


def test_a_bare_name_within_the_arguments_is_a_class_path_too(exported, tmp_path):
    for file in exported["pair"][1].iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    config = json.loads((tmp_path / "config.json").read_text())
    config["textok"]["init_args"]["bottleneck"] = "turtledemo.clock.Clock"
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match="of another package: pass trusted"):
        TexTokPipeline.from_pretrained(tmp_path)
    assert "turtledemo" not in sys.modules


def test_damaged_folders_are_told_in_a_line(exported, tmp_path):
    with pytest.raises(ValueError, match=r"config\.json is missing"):
        TexTokPipeline.from_pretrained(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"nothing")
    (tmp_path / "config.json").write_bytes((exported["pair"][1] / "config.json").read_bytes())
    with pytest.raises(ValueError, match="is damaged"):
        TexTokPipeline.from_pretrained(tmp_path)
    with pytest.raises(ValueError, match="is not empty and holds no exported model"):
        pipeline_of_run(exported["pair"][0]).save_pretrained(exported["pair"][0])


def test_loading_needs_no_lightning(exported):
    code = (
        "import sys; from textok.pipeline import TexTokPipeline; "
        f"TexTokPipeline.from_pretrained({str(exported['classes'][1])!r}).generate(label=0, num_steps=2); "
        "sys.exit('lightning' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_guidance_by_a_second_checkpoint_is_refused_where_it_would_be_missed(exported, tmp_path):
    folder = tmp_path / "guided"
    shutil.copytree(exported["classes"][1], folder)
    config = json.loads((folder / "config.json").read_text())
    guidance = {"class_path": "textok.diffusion.AutoGuidance", "init_args": {"scale": 2.0, "checkpoint": "other"}}
    config["sampler"]["init_args"]["guidance"] = guidance
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match="AutoGuidance guides by the network of a second checkpoint"):
        TexTokPipeline.from_pretrained(folder)


def test_a_photograph_stands_upright(tmp_path):
    upright = Image.fromarray(np.arange(6 * 4 * 3, dtype=np.uint8).reshape(6, 4, 3))
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90° clockwise
    upright.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "turned.png", exif=exif)
    assert np.array_equal(np.array(read_picture(tmp_path / "turned.png")), np.array(upright))

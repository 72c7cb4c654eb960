"""Compiled blocks: the same pictures, and nothing of the compiler in a checkpoint or an export."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from textok.cli import main
from textok.modules.weights import read_checkpoint
from textok.runs.export import open_model, pipeline_of_run


@pytest.fixture
def graphs(monkeypatch):
    """The graphs that were captured; they run as they are, without the time that inductor takes."""
    found = []

    def backend(graph, inputs):
        found.append(graph)
        return graph

    original = torch.compile
    monkeypatch.setattr(torch, "compile", lambda *args, **choices: original(*args, **choices | {"backend": backend}))
    torch._dynamo.reset()
    with torch._dynamo.config.patch(fail_on_recompile_limit_hit=True):  # it would go on uncompiled without a word
        yield found
    torch._dynamo.reset()


@pytest.fixture
def picture(tmp_path):
    Image.new("RGB", (16, 16), "red").save(tmp_path / "red.png")
    return tmp_path / "red.png"


def test_a_compiled_pipeline_makes_and_saves_the_same(text_run, graphs, tmp_path):
    plain, compiled = pipeline_of_run(text_run), pipeline_of_run(text_run).compile()
    noise = torch.randint(0, 256, (3, 3, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    for count in (1, 3, 2):  # a batch of another size is no reason to give up
        captions = ["a red circle", "", "a blue square"][:count]
        ours, theirs = (each.reconstruct(noise[:count], captions, output="tensor") for each in (compiled, plain))
        torch.testing.assert_close(ours, theirs)
        asked = dict(prompt="a red circle", num_images=count, output="tensor")
        for guidance in (1.0, 3.0):
            ours, theirs = (each.generate(**asked, guidance=guidance) for each in (compiled, plain))
            torch.testing.assert_close(ours, theirs)
    assert graphs
    for name, pipeline in (("plain", plain), ("compiled", compiled)):
        pipeline.save_pretrained(tmp_path / name)
    for name in ("config.json", "model.safetensors"):
        assert (tmp_path / "compiled" / name).read_bytes() == (tmp_path / "plain" / name).read_bytes()


@pytest.mark.parametrize("command", ["generate", "sample", "reconstruct", "encode"])
def test_commands_compile(text_run, picture, graphs, tmp_path, command):
    captions = tmp_path / "captions.txt"
    captions.write_text("a red circle\n")
    arguments = {
        "generate": ["--prompt", "a red circle", "--num_steps", "2"],
        "sample": ["2", "--captions", str(captions), "--num_steps", "2"],
        "reconstruct": [str(picture), "--caption", "red"],
        "encode": [str(picture), "--caption", "red"],
    }[command]
    made = {}
    for name, options in (("plain", []), ("compiled", ["--compile"])):
        place = tmp_path / (name + {"encode": ".safetensors", "sample": ""}.get(command, ".png"))
        assert not graphs
        assert main([command, str(text_run), *arguments, *options, "--output", str(place)]) == 0
        made[name] = place / "images" / "000000.png" if command == "sample" else place
    assert graphs
    if command != "encode":
        ours, theirs = (np.asarray(Image.open(made[name])).astype(int) for name in ("compiled", "plain"))
        assert abs(ours - theirs).max() <= 1


def test_decode_compiles(stage1, picture, graphs, tmp_path):
    latents, made = str(tmp_path / "latents.safetensors"), tmp_path / "made.png"
    assert main(["encode", str(stage1[1]), str(picture), "--output", latents]) == 0
    assert main(["decode", str(stage1[1]), latents, "--compile", "--output", str(made)]) == 0
    assert graphs and made.is_file()


def test_a_run_with_compiled_blocks_leaves_no_trace_of_them(stage1, graphs, tmp_path):
    options, plain = stage1
    run = ["fit", *options, "--run", str(tmp_path / "run"), "--model.init_args.compile_blocks", "true"]
    assert main(run) == 0
    assert graphs
    newest = [next((Path(folder) / "checkpoints").glob("step*2.ckpt")) for folder in (plain, tmp_path / "run")]
    theirs, ours = (read_checkpoint(file)["state_dict"] for file in newest)
    assert ours.keys() == theirs.keys()
    for name, value in theirs.items():
        torch.testing.assert_close(ours[name], value, msg=name)
    assert main(run) == 0  # the same command goes on from the checkpoint
    assert main(["export", str(tmp_path / "run"), str(tmp_path / "exported")]) == 0
    exported = open_model(str(tmp_path / "exported"), "cpu")
    assert exported.networks.state_dict().keys() == pipeline_of_run(plain).networks.state_dict().keys()


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="inductor needs a compiler")
def test_inductor_decodes_the_same_pictures(stage1):
    torch._dynamo.reset()
    plain, compiled = pipeline_of_run(stage1[1]), pipeline_of_run(stage1[1]).compile()
    latents = torch.randn(2, 4, plain.networks.pair.latent_dim)
    ours, theirs = (each.decode(latents, ["a circle", ""], output="tensor") for each in (compiled, plain))
    torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-4)

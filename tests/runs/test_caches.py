"""From captions and a run of stage 1 to stage 2 without an image, a tokenizer or a text encoder at work."""

import json
import re
import shutil
from functools import partial
from pathlib import Path

import pytest
import torch
import yaml

from textok import load_run
from textok.cli import main
from textok.datamodules import LatentsDataModule, ShapesDataModule, TextCache
from textok.datamodules.dataset import Entry
from textok.datamodules.latent_cache import CachedSamples, LatentCache
from textok.models import T5TextEncoder, TexTok
from textok.runs.load import load_data
from textok.storage import Manifest
from textok.types import from_uint8


def command_line(kind, output, *options):
    return ["cache", kind, *options, "--output", str(output), "--shard_size", "8", "--batch_size", "4"]


def cache(kind, output, *options):
    return main(command_line(kind, output, *options))


@pytest.fixture(scope="session")
def text(stage1, tmp_path_factory):
    folder = tmp_path_factory.mktemp("caches") / "text"
    assert cache("text", folder, *stage1[0]) == 0
    return folder


@pytest.fixture(scope="session")
def latents(stage1, tmp_path_factory):
    folder = tmp_path_factory.mktemp("caches") / "latents"
    assert cache("latents", folder, str(stage1[1]), "--dtype", "float32") == 0
    return folder


@pytest.fixture(scope="session")
def encoder(t5_folder):
    encoder = T5TextEncoder(str(t5_folder), num_tokens=200)
    encoder.load()
    return encoder


# ---------------------------------------------------------------- text


def test_every_caption_is_there_once_and_so_is_the_empty_one(stage1, text):
    data = load_data(stage1[1])
    data.setup()
    splits = (data.splits.train, data.splits.held_out)
    captions = {images.captions(i)[0] for images in splits for i in range(len(images))} | {""}
    cached = TextCache(text)
    assert sorted(cached.captions) == sorted(captions) and len(cached) == len(captions)


def test_cached_tokens_are_the_encoder_s_without_padding(text, encoder):
    cached = TextCache(text)
    captions = [*cached.captions, ""]
    wanted, found = encoder(captions), cached(captions)
    assert torch.equal(found.mask, wanted.mask) and found.tokens.dtype == torch.bfloat16
    assert torch.equal(found.tokens, wanted.tokens.bfloat16())
    stored = sum(len(cached._shard(shard)[0]) for shard in range(len(cached.manifest.shards)))
    assert stored == int(encoder(list(cached.captions)).mask.sum())


def test_a_caption_that_it_does_not_have_is_named(text):
    cached = TextCache(text)
    assert cached.find(["", "a unicorn"]) is None
    with pytest.raises(ValueError, match="does not have the caption 'a unicorn'"):
        cached(["", "a unicorn"])


def test_captions_for_sampling_are_put_in_as_well(stage1, tmp_path):
    entries = [{"name": str(label), "captions": [f"a new {label}"]} for label in range(8)]
    (tmp_path / "classes.json").write_text(json.dumps(entries))
    options = ["--run", str(stage1[1]), "--class_captions", str(tmp_path / "classes.json")]
    assert cache("text", tmp_path / "text", *options) == 0
    assert TextCache(tmp_path / "text").find([f"a new {label}" for label in range(8)]) is not None


def test_the_text_cache_of_other_captions_or_another_encoder_is_refused(text):
    def shapes(**kwargs):
        return ShapesDataModule(16, num_train=20, num_val=6, batch_size=4, text_cache=text, **kwargs)

    shapes().setup()
    with pytest.raises(ValueError, match=r"policy: the cache has 'FirstCaption\(\)', here it is 'RandomCaption\(\)'"):
        from textok.datamodules import RandomCaption

        shapes(caption_policy=RandomCaption()).setup()
    with pytest.raises(ValueError, match=r"keys\.train: the cache has .* here it is .*\n.*keys\.held_out"):
        shapes(seed=1).setup()
    data = shapes()
    data.setup()
    with pytest.raises(ValueError, match=r"num_tokens: the cache has 200, here it is 32"):
        data.check_encoder(T5TextEncoder("google/t5-v1_1-small", num_tokens=32).identity)


def test_stage_1_reads_the_cache_and_never_loads_the_encoder(stage1, text, tmp_path, monkeypatch):
    loads = []
    monkeypatch.setattr(T5TextEncoder, "read", lambda self: loads.append(self))
    run = ["--run", str(tmp_path / "run"), "--data.init_args.text_cache", str(text)]
    assert main(["fit", *stage1[0], *run]) == 0
    assert loads == []


# ---------------------------------------------------------------- latents


def on_the_fly(stage1, flip):
    """Latents of the training set by the run's averages, encoded one by one."""
    module, data = load_run(stage1[1]), load_data(stage1[1])
    data.setup()
    samples = data.fixed_loader("train").samples
    rows = []
    for index in range(len(samples)):
        sample = samples[Entry(0, index)]
        image = from_uint8(sample.image.flip(-1) if flip else sample.image)[None]
        with torch.no_grad():
            rows.append(
                module.ema.encode(image, module.encode_captions([sample.caption]), torch.tensor([sample.label]))
            )
    return torch.cat(rows)


def test_cached_latents_are_those_that_are_encoded_on_the_fly(stage1, latents):
    cached = LatentCache(latents)
    plain, mirrored = on_the_fly(stage1, flip=False), on_the_fly(stage1, flip=True)
    assert not torch.allclose(plain, mirrored, atol=1e-3)
    entries = range(int(cached.first[cached.num_train]))
    assert 0 < sum(map(bool, cached.flipped)) < cached.num_train
    for entry in entries:
        image = int((cached.first <= entry).sum()) - 1
        wanted = (mirrored if cached.flipped[entry] else plain)[image]
        torch.testing.assert_close(cached.latents(entry), wanted, rtol=0, atol=1e-5)
    trained = torch.stack([cached.latents(entry) for entry in entries]).double().flatten(0, 1)
    details = cached.manifest.details
    torch.testing.assert_close(torch.tensor(details["mean"]).double(), trained.mean(0), rtol=0, atol=1e-6)
    torch.testing.assert_close(torch.tensor(details["std"]).double(), trained.std(0, correction=0), rtol=0, atol=1e-6)


def test_no_caption_that_says_left_or_right_goes_with_a_mirror_image(latents):
    cached = LatentCache(latents)
    captions = [cached.captions[int(cached.caption_of[e])] for e in range(len(cached.flipped)) if cached.flipped[e]]
    assert captions and not any("left" in caption or "right" in caption for caption in captions)
    held_out = cached.flipped[int(cached.first[cached.num_train]) :]
    assert len(held_out) == 6 and not any(held_out)


def test_several_captions_an_image_and_half_precision(tmp_path, stage1, latents):
    assert cache("latents", tmp_path / "half", str(stage1[1]), "--no_flip", "--captions_per_image", "3") == 0
    half, full = LatentCache(tmp_path / "half"), LatentCache(latents)
    assert half.latents(0).dtype == torch.float16 and len(half.flipped) == 26 and not half.flipped.any()
    torch.testing.assert_close(half.latents(0).float(), full.latents(0), rtol=1e-3, atol=1e-3)
    assert half.manifest.shards[0].size < full.manifest.shards[0].size


def datamodule(latents, **kwargs):
    data = LatentsDataModule(latents, **{"image_size": 16, "num_classes": 8, "batch_size": 4} | kwargs)
    data.setup()
    return data


def test_batches_carry_latents_captions_and_labels_in_the_order_of_the_images(stage1, latents):
    data, images = datamodule(latents), load_data(stage1[1])
    images.setup()
    for _ in range(2):
        for mine, theirs in zip(data.train_dataloader(), images.train_dataloader()):
            assert torch.equal(mine.index, theirs.index) and mine.key == theirs.key
            assert mine.caption == theirs.caption and torch.equal(mine.label, theirs.label)
            assert mine.latents.shape == (4, 4, 8) and mine.text is None
    keys = [key for batch in data.val_dataloader() for key, valid in zip(batch.key, batch.valid) if valid]
    assert keys == [images.splits.held_out.key(i) for i in range(6)]
    assert data.class_names == images.class_names and data.class_captions() == images.class_captions()


def test_an_image_comes_mirrored_about_half_of_the_time_and_the_same_after_a_resume(latents):
    cached = LatentCache(latents)
    image = next(i for i in range(20) if cached.first[i + 1] - cached.first[i] == 2)
    samples = CachedSamples(cached, "train", flip=True, shuffled=True)
    drawn = [cached.flipped[samples[Entry(epoch, image)].entry] for epoch in range(100)]
    assert 30 < sum(map(bool, drawn)) < 70
    assert drawn == [cached.flipped[samples[Entry(epoch, image)].entry] for epoch in range(100)]
    never = CachedSamples(cached, "train", flip=False, shuffled=True)
    assert not any(cached.flipped[never[Entry(epoch, image)].entry] for epoch in range(100))


def test_text_tokens_come_along_where_they_are_asked_for(latents, text, encoder):
    data = datamodule(latents, text_cache=text, text_in_batches=True)
    batch = data.on_after_batch_transfer(next(iter(data.train_dataloader())), 0)
    assert torch.equal(batch.text.tokens, encoder(batch.caption).tokens.bfloat16().float())
    assert batch.text.tokens.dtype == batch.latents.dtype == torch.float32
    with pytest.raises(ValueError, match="there is no text_cache to take"):
        datamodule(latents, text_in_batches=True)


def test_caches_that_do_not_match_are_refused_side_by_side(latents, text, tmp_path):
    with pytest.raises(ValueError, match=r"image_size: the cache has 16, here it is 32\n.*num_classes: the c"):
        datamodule(latents, image_size=32, num_classes=10)
    with pytest.raises(ValueError, match=r"weights_sha256: the cache has '.*', here it is 'other'.*\n.*step00000002"):
        datamodule(latents).check_pair("other")
    for name, change in (("encoder", {"weights_sha256": "other"}), ("sizes", {"dim": 7})):
        shutil.copytree(text, tmp_path / name)
        manifest = json.loads((text / "manifest.json").read_text())
        manifest["identity"]["text_encoder"] |= change
        (tmp_path / name / "manifest.json").write_text(json.dumps(manifest))
        with pytest.raises(ValueError, match=rf"{next(iter(change))}: the cache has '?{next(iter(change.values()))}"):
            datamodule(latents, text_cache=tmp_path / name)
    with pytest.raises(ValueError, match="is a text cache, not a latents cache"):
        datamodule(text)


def test_a_text_cache_without_some_of_the_captions_is_refused(stage1, latents, tmp_path):
    few = ["--data.init_args.num_train", "10"]
    assert cache("text", tmp_path / "few", *stage1[0], *few) == 0
    with pytest.raises(ValueError, match=r"lacks 10 of the 26 captions of the latents cache"):
        datamodule(latents, text_cache=tmp_path / "few")


# ---------------------------------------------------------------- stage 2


@pytest.fixture
def stage2(stage1, latents, text, tmp_path, t5_folder):
    """The options of ``fit`` for stage 2 from the caches."""
    options, run = stage1
    tiny = yaml.safe_load(Path(options[-1]).read_text())
    pair = {name: tiny["model"]["init_args"][name] for name in ("text_encoder", "textok")}
    config = {
        "trainer": {
            "max_steps": 4,
            "val_check_interval": 4,
            "callbacks": [{"class_path": f"textok.callbacks.{grid}"} for grid in ("SampleGrid", "PromptGrid")],
        },
        "data": {
            "class_path": "textok.datamodules.LatentsDataModule",
            "init_args": {"cache": str(latents), "text_cache": str(text), "batch_size": 4}
            | {"image_size": 16, "num_classes": 8},
        },
        "checkpoint": {"every_n_train_steps": 2},
        "model": {
            "init_args": pair
            | {
                "tokenizer_checkpoint": str(run),
                "dit": {"init_args": {"width": 16, "depth": 1, "num_heads": 2}},
                "sampler": {"init_args": {"num_steps": 2}},
                "schedule": {"init_args": {"warmup_steps": 1}},
            }
        },
    }
    (tmp_path / "stage2.yaml").write_text(yaml.safe_dump(config))
    files = [
        options[1],
        str(options[3]).replace("tokenizer.yaml", "generator.yaml"),
        options[5],
        tmp_path / "stage2.yaml",
    ]
    return [part for file in files for part in ("-c", str(file))]


def test_stage_2_trains_validates_and_samples_without_an_encoder(stage2, tmp_path, monkeypatch):
    monkeypatch.setattr(T5TextEncoder, "read", lambda self: pytest.fail("the text encoder was loaded"))
    monkeypatch.setattr(TexTok, "encode", lambda *args: pytest.fail("an image was encoded"))
    assert main(["fit", *stage2, "--run", str(tmp_path / "run")]) == 0
    assert (tmp_path / "run" / "pictures" / "samples.png").is_file()
    assert (tmp_path / "run" / "pictures" / "prompts.png").is_file()  # held-out captions, without their originals
    assert (tmp_path / "run" / "checkpoints" / "step00000004.ckpt").is_file()


def test_it_goes_on_with_its_caches_and_refuses_those_of_another_pair(stage2, stage1, latents, tmp_path, capsys):
    other = tmp_path / "other"
    shutil.copytree(latents, other)
    manifest = json.loads((other / "manifest.json").read_text())
    manifest["identity"]["tokenizer"]["weights_sha256"] = "0123"
    (other / "manifest.json").write_text(json.dumps(manifest))
    assert main(["fit", *stage2, "--run", str(tmp_path / "run"), "--data.init_args.cache", str(other)]) == 1
    assert "weights_sha256: the cache has '0123', here it is" in capsys.readouterr().err
    file = other / "shard-00001.safetensors"
    file.write_bytes(file.read_bytes()[:-1])
    assert main(["fit", *stage2, "--run", str(tmp_path / "run2"), "--data.init_args.cache", str(other)]) == 1
    assert "shard-00001.safetensors is damaged" in capsys.readouterr().err


def test_a_sampled_class_takes_its_captions_from_a_file(stage2, tmp_path):
    entries = [{"name": str(label), "captions": [f"a new {label}"]} for label in range(8)]
    (tmp_path / "classes.json").write_text(json.dumps(entries))
    file = ["--model.init_args.class_captions", str(tmp_path / "classes.json")]
    assert main(["fit", *stage2, *file, "--run", str(tmp_path / "run")]) == 0
    (tmp_path / "classes.json").unlink()  # the checkpoint has them
    assert load_run(tmp_path / "run").class_captions == [entry["captions"] for entry in entries]


# ---------------------------------------------------------------- kill -9


@pytest.mark.parametrize("point", [6, pytest.param(9, marks=pytest.mark.slow)])
@pytest.mark.parametrize("kind", ["text", "latents"])
def test_a_killed_command_goes_on_to_the_same_bytes(stage1, text, latents, tmp_path, killed, contents, kind, point):
    whole = text if kind == "text" else latents
    options = stage1[0] if kind == "text" else [str(stage1[1]), "--dtype", "float32"]
    command = partial(cache, kind, tmp_path / "cache", *options)
    assert killed(point, command)
    with pytest.raises(FileNotFoundError, match="is not finished: start the same command again"):
        Manifest.read(tmp_path / "cache", kind)
    assert command() == 0
    assert contents(tmp_path / "cache") == contents(whole)
    assert command() == 0  # a finished one is left as it is
    assert contents(tmp_path / "cache") == contents(whole)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["text", "latents"])
def test_at_ten_points_of_each_command(stage1, text, latents, tmp_path, killed, contents, kind):
    whole = text if kind == "text" else latents
    options = stage1[0] if kind == "text" else [str(stage1[1]), "--dtype", "float32"]
    points = 0
    for point in range(1, 30, 3):
        command = partial(cache, kind, tmp_path / str(point), *options)
        points += killed(point, command)
        assert command() == 0
        assert contents(tmp_path / str(point)) == contents(whole), point
    assert points >= 8


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["text", "latents"])
def test_two_processes_of_which_one_was_killed_write_the_bytes_of_one(
    stage1, text, latents, tmp_path, torchrun, contents, kind
):
    whole = text if kind == "text" else latents
    options = stage1[0] if kind == "text" else [str(stage1[1]), "--dtype", "float32"]
    command = command_line(kind, tmp_path / "killed", *options)
    torchrun(command, kill_at=7)
    assert (tmp_path / "killed" / "plan.json").is_file() and not (tmp_path / "killed" / "manifest.json").exists()
    torchrun(command)
    assert contents(tmp_path / "killed") == contents(whole)


@pytest.mark.parametrize("kind", ["text", "latents"])
def test_the_size_is_told_first_and_what_does_not_fit_is_not_begun(stage1, tmp_path, monkeypatch, capsys, kind):
    options = stage1[0] if kind == "text" else [str(stage1[1])]
    usage = type("Usage", (), {"free": 100})
    with monkeypatch.context() as full:
        full.setattr("textok.storage.space.shutil.disk_usage", lambda place: usage)
        full.setattr(TexTok, "encode", lambda *args: pytest.fail("an image was encoded"))
        full.setattr(T5TextEncoder, "forward", lambda *args: pytest.fail("a caption was encoded"))
        assert cache(kind, tmp_path / "cache", *options) == 1
    assert re.search(r"cache needs another 0\.\d MB, and its disk has 0\.0 MB free: free some", capsys.readouterr().err)
    assert [path.name for path in (tmp_path / "cache").iterdir()] == ["plan.json"]
    assert cache(kind, tmp_path / "cache", *options) == 0
    told = capsys.readouterr().out
    count = {"text": "27 captions of about", "latents": "tokens of 8 channels each: "}[kind]
    assert 0 <= told.index(count) < told.index("to encode here") < told.index("about ", told.index("encode here"))


def test_another_plan_in_the_same_folder_is_refused(stage1, text, tmp_path, killed, capsys):
    assert killed(6, partial(cache, "text", tmp_path / "cache", *stage1[0]))
    assert cache("text", tmp_path / "cache", *stage1[0], "--dtype", "float16") == 1
    assert "identity.dtype: the cache has 'bfloat16', here it is 'float16'" in capsys.readouterr().err

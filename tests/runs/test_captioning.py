"""A small random vision-language model captions the shapes; what is written survives a kill."""

import json
from functools import partial

import pytest
import torch

from textok.cli import main
from textok.datamodules import CaptionBank, ShapesDataModule
from textok.models.captioner import Captioner, tidy
from textok.runs.captioning import caption_dataset

WORDS = ["a", "photo", "of", "red", "blue", "circle", "square", "on", "the", "left", "with", "two", "and", "star"]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A BLIP of two layers with a vocabulary of a few words, saved as any model is."""
    from transformers import (
        BertTokenizerFast,
        BlipConfig,
        BlipForConditionalGeneration,
        BlipImageProcessor,
        BlipProcessor,
    )

    folder = tmp_path_factory.mktemp("blip")
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "[DEC]", *WORDS]
    (folder / "vocab.txt").write_text("\n".join(vocabulary) + "\n")
    text_tokenizer = BertTokenizerFast(vocab=str(folder / "vocab.txt"), bos_token="[DEC]")
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = BlipConfig(
        text_config={
            **sizes,
            "vocab_size": len(vocabulary),
            "encoder_hidden_size": 16,
            "projection_dim": 16,
            "max_position_embeddings": 64,
            "bos_token_id": 5,
            "pad_token_id": 0,
            "eos_token_id": 3,
            "sep_token_id": 3,
        },
        vision_config={**sizes, "image_size": 32, "patch_size": 16, "projection_dim": 16},
        projection_dim=16,
        image_text_hidden_size=16,
    )
    torch.manual_seed(2)
    network = BlipForConditionalGeneration(config)
    for name, parameter in network.named_parameters():
        if parameter.ndim > 1:  # far larger than the usual start, so that pictures make a difference
            parameter.data.mul_(600 if "vision" in name or "crossattention" in name else 20)
    network.save_pretrained(folder)
    BlipProcessor(BlipImageProcessor(size={"height": 32, "width": 32}), text_tokenizer).save_pretrained(folder)
    return str(folder)


def command_line(model, output, *options):
    shapes = ["--data", "ShapesDataModule", "--data.image_size", "16", "--data.num_train", "9", "--data.num_val", "3"]
    asked = ["--model.prompt", "a photo of", "--model.max_words", "8", "--model.max_new_tokens", "12"]
    return ["caption", *shapes, "--model.name", model, *asked, "--batch_size", "2", "--output", str(output), *options]


def caption(*args):
    return main(command_line(*args))


@pytest.fixture(scope="module")
def whole(model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("captions") / "shapes"
    assert caption(model, folder) == 0
    return folder


def test_every_image_is_captioned_once_in_the_order_of_the_dataset(whole):
    lines = [json.loads(line) for line in (whole / "captions.jsonl").read_text().splitlines()]
    data = ShapesDataModule(16, num_train=9, num_val=3)
    data.setup()
    keys = [images.key(i) for images in (data.splits.train, data.splits.held_out) for i in range(len(images))]
    assert [line["key"] for line in lines] == keys
    assert all(0 < len(line["caption"].split()) <= 8 for line in lines)
    assert len({line["caption"] for line in lines}) > 1
    bank = CaptionBank(whole / "captions.bank")
    assert {key: bank[key] for key in keys} == {line["key"]: [line["caption"]] for line in lines}


@pytest.mark.parametrize("point", [3, *(pytest.param(n, marks=pytest.mark.slow) for n in range(1, 13) if n != 3)])
def test_a_killed_command_goes_on_to_the_same_bytes(model, whole, tmp_path, killed, contents, point):
    command = partial(caption, model, tmp_path / "captions")
    killed(point, command)
    for part in (tmp_path / "captions").glob("captions-*.jsonl"):  # and the disk had half of the next line
        part.write_bytes(part.read_bytes() + b'{"key": "shapes-0')
    assert command() == 0
    assert contents(tmp_path / "captions") == contents(whole)
    assert command() == 0
    assert contents(tmp_path / "captions") == contents(whole)


@pytest.mark.slow
def test_two_processes_write_the_bytes_of_one_also_when_one_of_them_is_killed(
    model, whole, tmp_path, torchrun, contents
):
    two = torchrun(command_line(model, tmp_path / "two"))
    assert two.stdout.count("6 to caption here") == 1  # the first process tells its share
    assert contents(tmp_path / "two") == contents(whole)
    command = command_line(model, tmp_path / "killed")
    torchrun(command, kill_at=2)
    lines = (tmp_path / "killed" / "captions-1.jsonl").read_text().count("\n")
    assert 2 <= lines < 6 and not (tmp_path / "killed" / "captions.jsonl").exists()
    torchrun(command)
    assert contents(tmp_path / "killed") == contents(whole)


def test_a_batch_that_was_half_written_is_completed(model, whole, tmp_path, contents):
    lines = (whole / "captions.jsonl").read_text().splitlines(keepends=True)
    folder = tmp_path / "captions"
    folder.mkdir()
    (folder / "plan.json").write_bytes((whole / "plan.json").read_bytes())
    (folder / "captions-0.jsonl").write_text("".join(lines[:3]))
    (folder / "captions-1.jsonl").write_text(lines[7])  # once there were two processes
    assert caption(model, folder) == 0
    assert contents(folder) == contents(whole)


def test_another_prompt_or_dataset_in_the_same_folder_is_refused(model, whole, capsys):
    assert caption(model, whole, "--model.prompt", "a star") == 1
    assert "captioner.prompt: the cache has 'a photo of', here it is 'a star'" in capsys.readouterr().err
    assert caption(model, whole, "--data.seed", "1") == 1
    assert "keys.train: the cache has" in capsys.readouterr().err


def test_a_picture_that_cannot_be_read_gets_no_caption_and_is_named(model, damaged, tmp_path):
    captioner = Captioner(model, prompt="a photo of", max_words=8, max_new_tokens=12)
    captioner.load()
    summary = caption_dataset(tmp_path / "captions", damaged(broken=[3]), captioner, batch_size=4)
    lines = [json.loads(line) for line in (tmp_path / "captions" / "captions.jsonl").read_text().splitlines()]
    (bad,) = [line for line in lines if "bad" in line]
    assert bad["key"].startswith("03") and bad["caption"] == "" and "truncated" in bad["bad"]
    assert len(lines) == 20 and summary.captions + summary.empty == 20
    assert "03" in (tmp_path / "bad.tsv").read_text()


def test_the_size_is_told_first_and_what_does_not_fit_is_not_begun(
    model, whole, tmp_path, monkeypatch, capsys, contents
):
    with monkeypatch.context() as full:
        full.setattr("textok.storage.space.shutil.disk_usage", lambda place: type("Usage", (), {"free": 2000}))
        full.setattr(Captioner, "__call__", lambda *args: pytest.fail("an image was captioned"))
        assert caption(model, tmp_path / "captions") == 1
    assert "captions needs another" in capsys.readouterr().err
    assert caption(model, tmp_path / "captions") == 0
    told = capsys.readouterr().out
    assert told.index("12 images, at most about 0.0 MB") < told.index("12 to caption here") < told.index("by the first")
    assert contents(tmp_path / "captions") == contents(whole)


def test_answers_are_tidied():
    assert tidy("a photo of\n a  red\tstar ", "A photo of", 75) == "a red star"
    assert tidy("a photo", "a photo of", 75) == "a photo"
    assert tidy("one two three", "", 2) == "one two"


def test_a_model_that_is_not_there_is_told(tmp_path):
    with pytest.raises(ValueError, match=r"the captioner '.*nothing' cannot be loaded"):
        Captioner(str(tmp_path / "nothing")).load()
    with pytest.raises(ValueError, match="max_words of a captioner must be at least 1, got 0"):
        Captioner("x", max_words=0)

"""A configuration's mistakes are told in a line: the key, the reason, and what was probably meant."""

from pathlib import Path

import pytest

from textok.cli import main

CONFIGS = Path(__file__).parents[2] / "configs"


@pytest.mark.parametrize(
    ("yaml", "message"),
    [
        (
            "model: {init_args: {textok: {init_args: {num_latent: 3}}}}",
            "model.init_args.textok: there is no key 'num_latent' of textok.TexTok: did you mean num_latents?",
        ),
        ("trainer: {max_step: 3}", "there is no key 'trainer.max_step'"),
        (
            "model: {init_args: {clipp: 3}}",
            "model: there is no key 'clipp' of textok.modules.TokenizerModule: did you mean",
        ),
        (
            "model: {class_path: textok.modules.TokenizrModule}",
            "there is no class textok.modules.TokenizrModule: did you",
        ),
        (
            "model: {init_args: {textok: {init_args: {tokenizer_conditioning: textok.models.InContxt}}}}",
            "tokenizer_conditioning: there is no class textok.models.InContxt: did you mean InContext?",
        ),
        (
            "model: {init_args: {textok: Pair}}",
            "model.init_args.textok: there is no class Pair here: give its full path",
        ),
        (
            "data: {init_args: {image_size: thirty}}",
            "data.init_args.image_size: Expected a <class 'int'>. Got value: thirty",
        ),
        ("model: [1", "did not find expected ',' or ']'"),
    ],
)
def test_a_wrong_key_class_or_value_in_yaml_is_one_line(tmp_path, capsys, yaml, message):
    (tmp_path / "mine.yaml").write_text(yaml)
    assert message in refused(tmp_path, capsys, "-c", str(tmp_path / "mine.yaml"))


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--model.init_args.lerning_rate", "1", "'lerning_rate'"),
        (
            "--model.init_args.textok.init_args.patchsize",
            "8",
            "'patchsize' of textok.TexTok: did you mean patch_size?",
        ),
        ("--data.class_path", "textok.datamodules.Nothing", "there is no class textok.datamodules.Nothing"),
    ],
)
def test_a_wrong_option_is_one_line(tmp_path, capsys, option, value, message):
    assert message in refused(tmp_path, capsys, option, value)


def refused(folder, capsys, *options: str) -> str:
    """The line in which ``fit`` refuses the quickstart's configuration with these options."""
    files = [CONFIGS / "base.yaml", *(CONFIGS / "quickstart" / f"{n}.yaml" for n in ("tokenizer", "pair"))]
    configs = [part for file in files for part in ("-c", str(file))]
    assert main(["fit", *configs, *options, "--run", str(folder / "run")]) == 2
    printed = capsys.readouterr()
    line, *others = printed.err.splitlines()
    assert others == ["Run textok fit --help for its options."]
    assert "usage:" not in printed.out
    assert not (folder / "run").exists()
    return line


def test_an_option_that_does_not_exist(capsys):
    assert main(["fit", "--nosuch", "3"]) == 2
    assert "unrecognized arguments: --nosuch 3" in capsys.readouterr().err

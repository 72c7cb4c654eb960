"""A checkpoint in its three forms."""

from functools import partial

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from textok.cli import main
from textok.models import TexTok
from textok.modules.weights import load_averaged_pair, read_checkpoint
from textok.types import Sizes

PAIR = partial(TexTok, num_latents=4, patch_size=4, width=16, depth=1, num_heads=2)
SIZES = Sizes(16, 3, text_dim=8, num_text_tokens=4)


@pytest.fixture
def stage1(tmp_path):
    """A checkpoint like stage 1's: raw and averaged weights, an optimiser's moments, counts."""
    torch.manual_seed(0)
    pair, average = PAIR(SIZES), PAIR(SIZES)
    state = {f"textok.{name}": value for name, value in pair.state_dict().items()}
    state |= {f"ema.{name}": value for name, value in average.state_dict().items()}
    state["lecam.ema_real"] = torch.tensor(0.25)
    moments = {i: {"step": torch.tensor(3.0), "exp_avg": torch.randn(p.shape)} for i, p in enumerate(pair.parameters())}
    groups = [{"lr": 0.1, "betas": (0.0, 0.99), "params": list(moments)}]
    optimizers = [{"state": moments, "param_groups": groups}]
    checkpoint = {"state_dict": state, "optimizer_states": optimizers, "global_step": 3, "loops": {"x": [1, None]}}
    torch.save(checkpoint, tmp_path / "step00000003.ckpt")
    return tmp_path / "step00000003.ckpt"


def same(a, b):
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b) and a.dtype == b.dtype
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return type(a) is type(b) and len(a) == len(b) and all(same(x, y) for x, y in zip(a, b))
    return a == b


@pytest.mark.parametrize("ranks", [1, 2, 5])
def test_cut_in_parts_and_put_together_again(stage1, tmp_path, ranks, capsys):
    assert main(["convert", str(stage1), str(tmp_path / "parts.ckpt"), "--ranks", str(ranks)]) == 0
    assert f"in {ranks} parts" in capsys.readouterr().out
    assert len(list((tmp_path / "parts.ckpt").glob("shard-*.pt"))) == ranks
    if ranks > 1:  # no part is the whole
        sizes = [file.stat().st_size for file in (tmp_path / "parts.ckpt").glob("shard-*.pt")]
        assert max(sizes) < 0.8 * stage1.stat().st_size
    assert main(["convert", str(tmp_path / "parts.ckpt"), str(tmp_path / "whole.ckpt")]) == 0
    assert same(read_checkpoint(stage1), read_checkpoint(tmp_path / "whole.ckpt"))
    assert same(read_checkpoint(stage1), read_checkpoint(tmp_path / "parts.ckpt"))


@pytest.mark.parametrize(("weights", "prefix"), [("ema", "ema."), ("raw", "textok.")])
def test_weights_as_safetensors_and_back(stage1, tmp_path, weights, prefix):
    file, back = tmp_path / "weights.safetensors", tmp_path / "back.ckpt"
    assert main(["convert", str(stage1), str(file), "--weights", weights]) == 0
    state = read_checkpoint(stage1)["state_dict"]
    expected = {"pair." + n.removeprefix(prefix): v for n, v in state.items() if n.startswith(prefix)}
    assert same(load_file(file), expected)
    with safe_open(file, framework="pt") as opened:
        assert opened.metadata()["weights"] == weights
    assert main(["convert", str(file), str(back)]) == 0
    pair = PAIR(SIZES)
    load_averaged_pair(pair, back)  # what stage 2 does with its tokenizer_checkpoint
    assert same({f"pair.{n}": v for n, v in pair.state_dict().items()}, expected)


def test_a_generator_keeps_its_pair_normaliser_and_captions(tmp_path):
    names = ("textok.x", "dit.x", "ema.x", "normalizer.mean")
    state = {name: torch.tensor([float(i)]) for i, name in enumerate(names)}
    whole = {"state_dict": state, "class_captions": [["a disc"]], "class_names": ["disc"]}
    torch.save(whole, tmp_path / "g.ckpt")
    assert main(["convert", str(tmp_path / "g.ckpt"), str(tmp_path / "g.safetensors")]) == 0
    assert {n: float(v) for n, v in load_file(tmp_path / "g.safetensors").items()} == {
        "pair.x": 0,
        "dit.x": 2,
        "normalizer.mean": 3,
    }
    assert main(["convert", str(tmp_path / "g.safetensors"), str(tmp_path / "back.ckpt")]) == 0
    state["dit.x"] = state["ema.x"]
    assert same(read_checkpoint(tmp_path / "back.ckpt"), whole)


@pytest.mark.parametrize(
    ("args", "complaint"),
    [
        (["none.ckpt", "a.ckpt"], "none.ckpt does not exist"),
        (["step00000003.ckpt", "there.ckpt"], "exists already"),
        (["step00000003.ckpt", "a.safetensors", "--ranks", "2"], "--ranks 2 cuts checkpoints"),
        (["step00000003.ckpt", "a.ckpt", "--weights", "raw"], "--weights raw chooses"),
        (["step00000003.ckpt", "a.ckpt", "--ranks", "0"], "at least 1, got 0"),
        (["damaged.ckpt", "a.ckpt"], "damaged.ckpt is damaged"),
        (["folder", "a.ckpt"], "no checkpoint in parts"),
        (["there.ckpt", "a.ckpt"], "is damaged: no complete archive"),
        (["other.ckpt", "a.safetensors"], "holds no state_dict"),
        (["bad.safetensors", "a.ckpt"], "cannot be read as safetensors"),
    ],
)
def test_what_cannot_be_converted_is_told_in_a_line(stage1, tmp_path, args, complaint, capsys):
    (tmp_path / "there.ckpt").write_text("x")
    (tmp_path / "folder").mkdir()
    (tmp_path / "bad.safetensors").write_text("x" * 20)
    torch.save({"x": 1}, tmp_path / "other.ckpt")
    damaged = bytearray(stage1.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    (tmp_path / "damaged.ckpt").write_bytes(damaged)
    before = sorted(tmp_path.iterdir())
    assert main(["convert", str(tmp_path / args[0]), str(tmp_path / args[1]), *args[2:]]) == 1
    error = capsys.readouterr().err
    assert complaint in error and error.count("\n") == 1
    assert sorted(tmp_path.iterdir()) == before

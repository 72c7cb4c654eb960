"""A text encoder that is spread over the processes gives the tokens of a whole one, whatever each of them asks for."""

from functools import partial
from types import SimpleNamespace

import pytest
import torch
import torch.distributed as dist
from fits import STEPS, Fit, fsdp, largest_differences, run, run_on, share_here
from ranks import check_on
from torch.distributed.tensor import DTensor

from textok.callbacks import PromptGrid, ReconstructionGrid, SampleGrid
from textok.models import HuggingFaceTextEncoder, RandomTextEncoder, T5TextEncoder
from textok.modules.sharding import shard_text_encoder
from textok.modules.text import TextModule
from textok.types import TextTokens

#: What the processes ask for in turn: unlike many, new ones beside known ones, the same ones, empty ones, none.
CALLS = [
    (["a red cat", "", "a blue dog on a mat", "x", "a red cat"], ["x"]),
    (["a red cat"], ["a tree", "seven", "two green birds"]),
    (["", ""], ["one", "one"]),
    ([], ["a house"]),
    (["a house"], []),
    (["a red cat"], ["x", ""]),
]


def same_tokens(mesh, make):
    whole, parts = make(), make()
    whole.load()
    parts.load()
    shard_text_encoder(parts, mesh)
    parts.to("cpu")
    assert all(isinstance(p, DTensor) and p.dtype == whole.dtype for p in parts.network.parameters())
    assert share_here(parts.network) == pytest.approx(1 / mesh.size(), rel=0.01)
    assert list(parts.parameters()) == [] and parts.state_dict() == {}
    for number, captions in enumerate(call[dist.get_rank()] for call in CALLS):
        with torch.inference_mode(number % 2 == 0):  # a validation comes first
            ours, theirs = parts(captions), whole(captions)
        assert torch.equal(ours.tokens, theirs.tokens) and torch.equal(ours.mask, theirs.mask)
    # Nothing stays gathered.
    assert share_here(parts.network) == pytest.approx(1 / mesh.size(), rel=0.01)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("kind", ["t5", "minilm", "clip", "random"])
def test_tokens_are_those_of_the_whole_encoder(kind, dtype, t5_folder, clip_folder):
    make = {
        "t5": partial(T5TextEncoder, str(t5_folder)),
        "minilm": HuggingFaceTextEncoder,
        "clip": partial(HuggingFaceTextEncoder, str(clip_folder)),
        "random": partial(RandomTextEncoder, num_words=128),
    }[kind]
    check_on(2, same_tokens, partial(make, num_tokens=24, chunk_size=2, dtype=dtype))


class HalfACache:
    """A datamodule whose cache has every caption but one."""

    brings_text = True

    def check_encoder(self, identity):
        pass

    def text_tokens(self, captions):
        if "of one's own" in captions:
            return None
        return TextTokens(torch.full((len(captions), 24, 16), 7.0), torch.ones(len(captions), 24, dtype=torch.bool))


def one_lacks_a_caption(mesh, make):
    module = TextModule(make(), 16, 8, shard_text_encoder=True)
    module.textok = SimpleNamespace(needs_text=True)
    module._device_mesh, module._trainer = mesh, SimpleNamespace(datamodule=HalfACache())
    module.encode_captions(["cached"])
    assert not module.text_encoder.is_loaded
    mine = ["of one's own" if dist.get_rank() else "cached"]
    for validates in (True, False):
        with torch.inference_mode(validates):
            tokens = module.encode_captions(mine).tokens
        assert module.text_encoder.is_loaded and share_here(module.text_encoder.network) < 1
        assert (tokens == 7).all() == (dist.get_rank() == 0)
        module.text_encoder.cache.clear()


@pytest.mark.slow
def test_a_caption_that_the_cache_of_one_process_lacks(t5_folder):
    check_on(2, one_lacks_a_caption, partial(T5TextEncoder, str(t5_folder), num_tokens=24))


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["tokenizer", "generator"])
def test_a_run_is_the_same_with_it(stage, t5_folder, tmp_path):
    """With pictures after every other step, and cut short in between."""

    def fit(name, sharded=True, **more):
        grids = [ReconstructionGrid()] if stage == "tokenizer" else [SampleGrid(), PromptGrid()]
        encoder = T5TextEncoder(str(t5_folder), num_tokens=200, chunk_size=1)
        choices = {"text_encoder": encoder, "shard_text_encoder": sharded}
        trainer = {"val_check_interval": 2, "default_root_dir": tmp_path / name}
        settings = {"strategy": fsdp, "uneven": True, "callbacks": grids, "trainer": trainer, "choices": choices}
        return Fit(t5_folder, stage, **settings | more)

    saved = tmp_path / "cut.ckpt"
    fits = [fit("whole", sharded=False), fit("parts"), fit("cut", stop=2, save=saved), fit("resumed", resume=saved)]
    whole, parts, _, resumed = run_on(2, fits, tmp_path)
    assert whole.text_share == 1 and parts.text_share == resumed.text_share == pytest.approx(0.5, rel=0.01)
    assert largest_differences(whole, parts) == (0, 0)
    assert len(resumed.losses) == STEPS - 2
    resumed.losses = whole.losses[:2] + resumed.losses
    assert largest_differences(whole, resumed) == (0, 0)
    assert not any("text_encoder" in name for name in parts.state)
    pictures = {file.name: file.read_bytes() for file in (tmp_path / "whole" / "pictures").iterdir()}
    assert len(pictures) >= 3  # a grid at each of two steps
    for name, picture in pictures.items():
        assert (tmp_path / "parts" / "pictures" / name).read_bytes() == picture


@pytest.mark.parametrize("stage", ["tokenizer", "generator"])
def test_a_strategy_that_spreads_nothing_is_refused(stage, t5_folder):
    with pytest.raises(ValueError, match=r"shard_text_encoder .* add -c configs/overlays/fsdp\.yaml"):
        run(Fit(t5_folder, stage, choices={"shard_text_encoder": True}))

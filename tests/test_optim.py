"""Schedules by hand-computed values; groups that weight decay spares."""

import itertools

import pytest
import torch

from textok.models import TexTok
from textok.optim import Warmup, WarmupCosine, parameter_groups
from textok.types import Sizes


def rates(schedule, steps: int, **kwargs) -> list[float]:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=2.0)
    scheduler = schedule(optimizer, steps, **kwargs)
    values = []
    for _ in range(steps):
        values.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return values


def test_warmup_cosine():
    values = rates(WarmupCosine, 10, warmup_steps=3, final=0.1)
    assert values[:4] == pytest.approx([0.5, 1.0, 1.5, 2.0])
    assert values[3] == max(values)
    assert all(a > b for a, b in itertools.pairwise(values[3:]))
    # Half-way through the cosine stands the mean of peak and final rate.
    assert rates(WarmupCosine, 10, final=0.1)[5] == pytest.approx(2.0 * 0.55)


def test_warmup_then_constant():
    assert rates(Warmup, 5, warmup_steps=1) == pytest.approx([1.0, 2.0, 2.0, 2.0, 2.0])
    assert rates(Warmup, 3) == [2.0, 2.0, 2.0]


def test_a_warmup_longer_than_the_run_is_refused():
    with pytest.raises(ValueError, match="warmup_steps must lie in 0 … 5"):
        rates(WarmupCosine, 5, warmup_steps=6)


def test_weight_decay_spares_biases_norms_and_tables():
    pair = TexTok(Sizes(8, text_dim=4, num_text_tokens=2), 2, 4, width=8, depth=1, num_heads=2)
    decayed, spared = parameter_groups(pair)
    names = {id(p): name for name, p in pair.named_parameters()}
    assert len(decayed["params"]) + len(spared["params"]) == len(names)
    assert all(names[id(p)].endswith("weight") for p in decayed["params"])
    assert {"tokenizer.queries", "detokenizer.patch_tokens", "tokenizer.positions"} <= {
        names[id(p)] for p in spared["params"]
    }
    assert spared["weight_decay"] == 0.0

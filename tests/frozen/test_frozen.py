"""A frozen network is invisible to everything that trains, saves or shards."""

import copy

import pytest
import torch
from torch import nn

from textok.frozen import Frozen


class Parent(nn.Module):
    def __init__(self):
        super().__init__()
        self.trained = nn.Linear(2, 2)
        self.frozen = Frozen()
        self.frozen.network = nn.Sequential(nn.Linear(2, 2), nn.Dropout(0.5))


def test_no_parameter_no_state_no_training_mode():
    parent = Parent().train()
    assert [name for name, _ in parent.named_parameters()] == ["trained.weight", "trained.bias"]
    assert set(parent.state_dict()) == {"trained.weight", "trained.bias"}
    assert not parent.frozen.network.training
    assert not any(p.requires_grad for p in parent.frozen.network.parameters())
    parent.load_state_dict(Parent().state_dict(), strict=True)


def test_it_follows_type_and_copies():
    parent = Parent().to(torch.float64)
    assert parent.frozen.network[0].weight.dtype == torch.float64
    assert torch.equal(copy.deepcopy(parent).frozen.network[0].weight, parent.frozen.network[0].weight)


def test_emptying_a_parent_keeps_the_frozen_weights():
    parent = Parent()
    weight = parent.frozen.network[0].weight.clone()
    parent.to_empty(device="cpu")
    assert torch.equal(parent.frozen.network[0].weight, weight)
    parent.to("meta")
    assert torch.equal(parent.frozen.network[0].weight, weight)


def test_weights_that_were_never_loaded_are_told():
    with pytest.raises(RuntimeError, match="Frozen has no weights yet: call load"):
        _ = Frozen().network

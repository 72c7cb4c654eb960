"""The trainer's precision neither enters the block nor is changed by it."""

import pytest
import torch

from textok.metrics.precision import full_precision


def state():
    return torch.is_autocast_enabled("cpu"), torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32


def test_inside_and_after():
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high")
    try:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            outside = state()
            assert outside[:2] == (True, "high")
            with pytest.raises(KeyError), full_precision(torch.device("cpu")):
                assert not torch.is_autocast_enabled("cpu")
                assert torch.backends.cuda.matmul.fp32_precision == "ieee"
                assert torch.backends.cudnn.conv.fp32_precision == "ieee"
                raise KeyError  # the way out of an error is the same
            assert state() == outside
    finally:
        torch.set_float32_matmul_precision(before)

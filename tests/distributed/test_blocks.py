"""Blocks that are compiled or computed twice: the same losses, gradients and weights."""

from functools import partial

import pytest
from fits import Fit, ddp, fsdp, largest_differences, run, run_on

OPTIONS = {
    "checkpointed": {"checkpoint_blocks": True},
    "compiled": {"compile_blocks": True, "compile_backend": "eager"},
    "both": {"checkpoint_blocks": True, "compile_blocks": True, "compile_backend": "aot_eager"},
}


@pytest.mark.parametrize("option", OPTIONS)
@pytest.mark.parametrize("stage", ["tokenizer", "generator"])
def test_an_option_of_blocks_changes_nothing(stage, option, t5_folder):
    """Gradient norms are among the losses; names of weights stay."""
    plain, other = (run(Fit(t5_folder, stage, choices=choices)) for choices in ({}, OPTIONS[option]))
    losses, weights = largest_differences(plain, other)
    assert losses < 1e-12 and weights < 1e-9


@pytest.mark.slow
def test_options_of_blocks_on_two_processes(t5_folder, tmp_path):
    choices = OPTIONS["both"]
    fits = [Fit(t5_folder, strategy=ddp), Fit(t5_folder, strategy=ddp, choices=choices)]
    fits += [Fit(t5_folder, strategy=fsdp, choices=choices)]
    plain, *others = run_on(2, fits, tmp_path)
    for other in others:
        losses, weights = largest_differences(plain, other)
        assert losses < 1e-12 and weights < 1e-9


@pytest.mark.slow
def test_compiled_by_inductor(t5_folder):
    fit = partial(Fit, t5_folder, "generator", double=False)
    plain, other = run(fit()), run(fit(choices={"compile_blocks": True}))
    losses, weights = largest_differences(plain, other)
    assert losses < 1e-4 and weights < 1e-4


def test_an_unknown_backend_is_told(t5_folder):
    with pytest.raises(ValueError, match=r"compile_backend 'inductr' is none of torch's: .*inductor"):
        run(Fit(t5_folder, "generator", choices={"compile_blocks": True, "compile_backend": "inductr"}))

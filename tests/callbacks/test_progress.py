"""Progress in lines and as a bar."""

import io
import re

import pytest
from rich.console import Console

from textok.callbacks import StepProgress
from textok.callbacks.display import duration


def run(make_trainer, make_module, make_data, terminal, accumulate=1, **settings):
    bar = StepProgress(title="stage 1: tokenizer", metrics=settings.pop("metrics", ()))
    bar.console = Console(file=io.StringIO(), force_terminal=terminal, width=120)
    trainer = make_trainer([bar], enable_progress_bar=True, **settings)
    trainer.fit(make_module(accumulate=accumulate), make_data(count=40))
    return bar, bar.console.file.getvalue()


def test_a_line_after_each_tenth(make_trainer, make_module, make_data):
    _, text = run(make_trainer, make_module, make_data, False, max_steps=20, limit_val_batches=1)
    lines = text.splitlines()
    assert lines[0] == "stage 1: tokenizer: 20 steps"
    assert [re.search(r"(\d+)/20", line)[1] for line in lines[1:]] == [str(step) for step in range(2, 21, 2)]
    assert all("l2 0." in line and "images/s" in line and "elapsed" in line for line in lines[2:])
    assert lines[-1].endswith("0:00 left")
    assert "\x1b" not in text


def test_accumulated_batches_count_once(make_trainer, make_module, make_data):
    _, text = run(make_trainer, make_module, make_data, False, max_steps=3, accumulate=3)
    assert re.findall(r"(\d+)/3 ", text) == ["1", "2", "3"]


def test_a_live_bar_that_is_closed_at_the_end(make_trainer, make_module, make_data):
    bar, text = run(make_trainer, make_module, make_data, True, max_steps=4, limit_val_batches=2, metrics=["train/l2"])
    assert "4/4" in text and "steps" in text and "images/s, l2 0." in text
    assert bar._display is None and text.endswith("\x1b[?25h")  # the cursor is back


def test_a_broken_run_gives_the_terminal_back(make_trainer, make_module, make_data):
    bar = StepProgress()
    bar.console = Console(file=io.StringIO(), force_terminal=True)
    module = make_module()

    def broken(batch, batch_idx):
        raise RuntimeError("no more")

    module.training_step = broken
    with pytest.raises(RuntimeError, match="no more"):
        make_trainer([bar], enable_progress_bar=True).fit(module, make_data())
    assert bar._display is None and "\x1b[?25h" in bar.console.file.getvalue()


def test_a_test_counts_batches(make_trainer, make_module, make_data):
    bar = StepProgress(title="tokenizer")
    bar.console = Console(file=io.StringIO(), force_terminal=False, width=120)
    make_trainer([bar], enable_progress_bar=True).test(make_module(), make_data(count=8), verbose=False)
    lines = bar.console.file.getvalue().splitlines()
    assert lines[0] == "tokenizer: test: 2 batches" and lines[-1].startswith("tokenizer: test: 2/2 (100%)")


def test_durations():
    assert [duration(s) for s in (0.4, 75, 3723)] == ["0:00", "1:15", "1:02:03"]

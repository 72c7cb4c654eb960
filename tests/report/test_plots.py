"""The plots."""

import math
import struct

import pytest

from textok.report import plots, read_records


def test_training_and_validation_of_a_term_share_a_plot(make_run):
    row = {"train/l2": 1.0, "val/l2": 2.0, "val/psnr": 3.0, "val/psnr_empty": 4.0, "mine": 5.0}
    records = read_records([make_run("a", curves=[(1, row)])])
    assert plots.curve_terms(records) == {
        "l2": {"train": "train/l2", "val": "val/l2"},
        "psnr": {"val_own": "val/psnr", "val_empty": "val/psnr_empty"},
        "mine": {"train": "mine"},
    }


def test_a_curve_that_diverged_is_drawn(make_run, tmp_path):
    values = [1.0, math.nan, math.inf, 1000.0]
    records = read_records([make_run("a", curves=[(step, {"train/l2": v}) for step, v in enumerate(values)])])
    plots.plot_curves(tmp_path / "l2.png", "l2", {"train": "train/l2"}, records)
    assert (tmp_path / "l2.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("count", [1, 12])
def test_a_legend_makes_the_picture_taller_and_not_wider(tmp_path, count):
    with plots.figure(tmp_path / "a.png", "$\\frac{$") as axes:
        handles = {
            f"_run {number} with a $\\frac{{$ name": axes.plot([1, 2], [3, number])[0] for number in range(count)
        }
        plots.add_legend(axes, handles)
    width, height = struct.unpack(">II", (tmp_path / "a.png").read_bytes()[16:24])
    assert width == 720 and (height == 520 if count == 1 else height > 800)


def test_runs_have_colours_of_their_own():
    for count in (2, 8, 20):
        assert len({plots.run_colour(number, count) for number in range(count)}) == count


def test_a_plot_that_fails_leaves_no_file(tmp_path):
    with pytest.raises(RuntimeError), plots.figure(tmp_path / "a.png", "a"):
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


def test_a_long_curve_is_averaged():
    steps = list(range(3000))
    at, values = plots.thinned(steps, [2.0 * step for step in steps])
    assert len(at) == plots.MAX_POINTS
    assert at[0] == 2.0 and values[0] == 4.0 and at[-1] == 2997.0

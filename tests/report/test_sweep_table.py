"""The numbers of a sweep's table against numpy, and its files."""

import csv

import numpy as np
import pytest
from PIL import Image

from textok.report.sweep import DASH, MINUS, SweepAxis, SweepCell, SweepTable, percent, read_table, relative_change
from textok.report.sweep_files import as_markdown, write_sweep


@pytest.fixture
def table():
    numbers = {
        ("8", "a"): [2.0, 3.0, 2.5],
        ("8", "b"): [4.0, 4.5, 3.5],
        ("16", "a"): [1.0, 1.5],
        ("16", "b"): [2.0, 2.5],
    }
    cells = [SweepCell({"n": n, "t": t}, {"rfid": found}, len(found)) for (n, t), found in numbers.items()]
    axes = [SweepAxis("n", "tokens", {"8": "8", "16": "16"}), SweepAxis("t", "text", {"a": "with", "b": "without $"})]
    return SweepTable("Title $x$", "textok sweep x", axes, ["rfid"], cells, 3, "n", "t", "b")


def test_means_deviations_and_changes_are_numpy_s(table, tmp_path):
    files = write_sweep(table, tmp_path)
    rows = list(csv.DictReader((tmp_path / "sweep.csv").open()))
    for row, cell in zip(rows, table.cells):
        values = cell.numbers["rfid"]
        assert float(row["rfid_mean"]) == pytest.approx(np.mean(values))
        assert float(row["rfid_std"]) == pytest.approx(np.std(values, ddof=1))
        assert int(row["rfid_seeds"]) == len(values)
    (change,) = table.changes()
    expected = [2.5 / 4.0 - 1, 1.25 / 2.25 - 1]
    assert [at["rfid"] for at in change.at.values()] == pytest.approx(expected)
    assert change.average("rfid") == pytest.approx(np.mean(expected))
    text = as_markdown(table)
    assert "2.500 ± 0.500" in text and "2 of 3" in text and f"{MINUS}37.5 %" in text
    assert read_table(tmp_path / "sweep.json") == table
    with Image.open(files[-1]) as plot:
        assert len(set(plot.convert("RGB").getdata())) > 50


def test_a_change_says_when_it_is_for_the_worse():
    assert percent(0.5, "rfid") == "+50.0 % (worse)"
    assert percent(-0.5, "psnr") == f"{MINUS}50.0 % (worse)"
    assert percent(0.5, "val/psnr") == "+50.0 %"
    assert relative_change(1.0, -0.1) is None  # an unbiased kernel distance may be negative


def test_a_cell_without_numbers_shows_as_a_dash(table):
    empty = SweepTable(**vars(table) | {"cells": [SweepCell(cell.values, {}, 0) for cell in table.cells]})
    assert empty.rows()[1][0] == ["8", "with", DASH, "0 of 3"]
    assert empty.changes()[0].average("rfid") is None

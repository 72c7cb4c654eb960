"""The table of bad files in docs/data.md is what happens to them."""

import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def script():
    return runpy.run_path(str(ROOT / "scripts" / "bad_pictures.py"))


def test_every_row_of_the_table_is_what_happens(script, tmp_path):
    head, page = script["HEAD"], (ROOT / "docs" / "data.md").read_text(encoding="utf-8")
    here = script["table"](tmp_path)
    assert page.count(head) == 1 and here in page, "run python scripts/bad_pictures.py and look at the difference"
    assert here.count("\n| ") >= 27


def test_a_picture_that_is_read_as_another_is_not_called_converted(script, tmp_path):
    (grey, *_) = script["pictures"](tmp_path / "files")
    data = script["datamodule"]([script["FolderSource"](tmp_path / "files", name="files")], tmp_path / "bad.tsv")
    assert script["outcome"](grey, data, {}) == "| grey | converted to RGB | |\n"
    with pytest.raises(AssertionError, match="read as another picture"):
        script["outcome"](grey._replace(expected=script["PIXELS"]), data, {})
    with pytest.raises(AssertionError, match="is not among the bad ones"):
        script["outcome"](grey._replace(expected=None), data, {})

"""Files are complete or not there."""

import json
import math

import pytest

from textok.storage import atomic_path, write_atomic, write_json


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    target = tmp_path / "weights.bin"
    target.write_bytes(b"old")
    with pytest.raises(OSError, match="disk"), atomic_path(target) as temporary:
        temporary.write_bytes(b"half")
        raise OSError("disk full")
    assert target.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [target]


def test_the_target_is_untouched_until_the_block_ends(tmp_path):
    target = tmp_path / "new" / "numbers.npz"
    with atomic_path(target) as temporary:
        temporary.write_bytes(b"all")
        assert not target.exists()
        assert temporary.parent == target.parent and temporary.suffix == ".npz"
    assert target.read_bytes() == b"all"
    assert list(target.parent.iterdir()) == [target]


def test_a_block_that_writes_nothing_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError), atomic_path(tmp_path / "never.txt"):
        pass
    assert not list(tmp_path.iterdir())


def test_text_and_json_round_trip(tmp_path):
    write_atomic(tmp_path / "a.txt", "µ ≥ 1")
    assert (tmp_path / "a.txt").read_text(encoding="utf-8") == "µ ≥ 1"
    write_json(tmp_path / "a.json", {"psnr": 20.5, "name": "é"})
    assert json.loads((tmp_path / "a.json").read_text(encoding="utf-8")) == {"psnr": 20.5, "name": "é"}


def test_nan_is_no_json(tmp_path):
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "a.json", {"psnr": math.nan})
    assert not list(tmp_path.iterdir())


def test_a_file_may_be_read_by_whom_an_ordinary_one_may(tmp_path):
    """safetensors makes its files the owner's alone, so that colleagues could not read a cache or an export."""
    (tmp_path / "ordinary").touch()
    with atomic_path(tmp_path / "mine") as temporary:
        temporary.touch(mode=0o600)
    assert (tmp_path / "mine").stat().st_mode == (tmp_path / "ordinary").stat().st_mode

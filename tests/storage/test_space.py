"""What does not fit on the disk is refused before it is begun."""

import shutil

import pytest

from textok.storage import require_space


def test_more_than_is_free_is_refused_with_both_numbers(tmp_path):
    free = shutil.disk_usage(tmp_path).free
    require_space(tmp_path / "not" / "there" / "yet", free // 2)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ValueError, match=r"^\S+/cache needs another [\d,.]+ MB, and its disk has [\d,.]+ MB free: "):
        require_space(tmp_path / "cache", free * 2 + 1)

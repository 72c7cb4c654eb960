import pytest

from textok.storage import JsonLines


def test_lines_come_back_and_a_half_written_one_is_cut_off(tmp_path):
    lines = JsonLines(tmp_path / "deep" / "a.jsonl")
    assert lines.read() == []
    lines.append([{"a": 1}, {"b": "zwei\u2028\r\n"}])
    whole = lines.path.read_bytes()
    for length in range(1, 8):
        lines.path.write_bytes(whole + b'{"c": 3'[:length])
        assert lines.read() == [{"a": 1}, {"b": "zwei\u2028\r\n"}]
        lines.repair()
        assert lines.path.read_bytes() == whole
    lines.append([{"c": 3}])
    assert lines.read()[-1] == {"c": 3}
    lines.path.write_bytes(b'{"only')
    lines.repair()
    assert lines.path.read_bytes() == b""


def test_a_damaged_line_in_the_middle_is_named(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"a": 1}\n{"b\n{"c": 3}\n')
    with pytest.raises(ValueError, match=r"a\.jsonl, line 2 is no JSON"):
        JsonLines(tmp_path / "a.jsonl").read()

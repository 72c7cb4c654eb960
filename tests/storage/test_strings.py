import pytest

from textok.storage import StringIndex, StringTable, pack, pack_index, strings_digest
from textok.storage import strings as strings_module

WORDS = ["", "a cat", "ein Kätzchen 🐱", "a", "cat"]


def test_strings_come_back_by_number():
    table = StringTable.read(pack(WORDS, "words"), "words")
    assert list(table) == WORDS and len(table) == 5
    with pytest.raises(IndexError, match="string 5 of 5"):
        table[5]
    assert list(StringTable.read(pack([], "none"), "none")) == []


def test_strings_are_found_by_value_and_by_nothing_less():
    index = StringIndex.read(pack_index(WORDS, "words"), "words")
    assert index.find([*WORDS, "a c", "A cat", " "]).tolist() == [0, 1, 2, 3, 4, -1, -1, -1]
    assert "a cat" in index and "a ca" not in index and 3 not in index
    assert StringIndex.read(pack_index([], "none"), "none").find(["x"]).tolist() == [-1]


def test_strings_of_one_hash_are_told_apart(monkeypatch):
    real = strings_module._hashes
    monkeypatch.setattr(strings_module, "_hashes", lambda strings: real(strings) % 2)
    words = [f"word {i}" for i in range(50)]
    index = StringIndex.read(pack_index(words, "words"), "words")
    assert index.find([*words, "word 50"]).tolist() == [*range(50), -1]


def test_the_digest_knows_where_a_string_ends():
    assert strings_digest(["ab", "c"]) == strings_digest(["ab", "c"])
    assert len({strings_digest(s) for s in (["ab", "c"], ["a", "bc"], ["abc"], ["c", "ab"], [])}) == 5

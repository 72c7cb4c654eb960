import pickle
import subprocess
import sys

import pytest

from textok.datamodules import CaptionBank
from textok.datamodules.caption_bank import BankSummary, build_bank
from textok.datamodules.caption_files import CaptionRow


def rows(*pairs):
    return [CaptionRow(key, captions, f"line {n}") for n, (key, captions) in enumerate(pairs, 1)]


MANY = rows(("a", ["one"]), ("b", ["two", "zwei 🐟", "two"]), ("c", []), ("d", ["one"]))


def test_captions_come_back_by_key(tmp_path):
    summary = build_bank(MANY, tmp_path / "bank")
    assert summary == BankSummary(images=3, captions=4, repeated=0, empty=1)
    bank = CaptionBank(tmp_path / "bank")
    assert len(bank) == 3 and bank.num_captions == 4
    assert {key: bank[key] for key in "abd"} == {"a": ["one"], "b": ["two", "zwei 🐟"], "d": ["one"]}
    assert "c" not in bank and bank.find(["d", "c", "a"]).tolist() == [2, -1, 0]
    with pytest.raises(KeyError):
        bank["c"]
    again = pickle.loads(pickle.dumps(bank))
    assert again["b"] == bank["b"] and again.digest == bank.digest


def test_a_key_that_comes_again(tmp_path):
    twice = rows(("a", ["one"]), ("b", ["two"]), ("a", ["drei"]))
    with pytest.raises(ValueError, match="line 3: the key 'a' came before, in line 1"):
        build_bank(twice, tmp_path / "bank")
    assert not (tmp_path / "bank").exists()
    for repeated, expected in (("join", ["one", "drei"]), ("first", ["one"])):
        assert build_bank(twice, tmp_path / repeated, repeated).repeated == 1
        bank = CaptionBank(tmp_path / repeated)
        assert bank["a"] == expected and bank["b"] == ["two"]


def test_the_digest_names_the_contents(tmp_path):
    contents = [MANY, MANY[::-1], rows(("a", ["one", "two"])), rows(("a", ["one"]), ("two", ["one"]))]
    digests = []
    for number, content in enumerate(contents):
        build_bank(content, tmp_path / str(number))
        build_bank(content, tmp_path / "again")
        digests.append(CaptionBank(tmp_path / str(number)).digest)
        assert CaptionBank(tmp_path / "again").digest == digests[-1]
    assert len(set(digests)) == len(contents)


def test_files_that_are_no_bank(tmp_path):
    with pytest.raises(ValueError, match="none of the 1 rows has a caption"):
        build_bank(rows(("a", [])), tmp_path / "bank")
    with pytest.raises(FileNotFoundError, match="bank does not exist"):
        CaptionBank(tmp_path / "bank")
    build_bank(MANY, tmp_path / "bank")
    data = (tmp_path / "bank").read_bytes()
    (tmp_path / "bank").write_bytes(data[:-3])
    with pytest.raises(ValueError, match="bank is damaged"):
        CaptionBank(tmp_path / "bank")
    from safetensors.torch import save_file
    from torch import ones

    save_file({"x": ones(1)}, tmp_path / "bank")
    with pytest.raises(ValueError, match="is no caption bank of this version"):
        CaptionBank(tmp_path / "bank")


MEMORY = """
import sys
from textok.datamodules.caption_bank import CaptionBank
def private():  # memory that no other process can share, in kB
    return next(int(line.split()[1]) for line in open("/proc/self/smaps_rollup") if line.startswith("Anonymous"))
CaptionBank(sys.argv[1])
before = private()
bank = CaptionBank(sys.argv[1])
opened = private()
for number in range(0, len(bank), 7):
    assert bank[bank.key(number)]
print(opened - before, private() - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_a_great_bank_takes_no_memory_of_its_own(tmp_path):
    count = 100_000
    many = (CaptionRow(f"image {i}", [f"{i} " + "word " * 75], "") for i in range(count))
    build_bank(many, tmp_path / "bank")
    assert (tmp_path / "bank").stat().st_size > 35e6
    out = subprocess.run(
        [sys.executable, "-c", MEMORY, str(tmp_path / "bank")], capture_output=True, text=True, check=True
    )
    opened, read = map(int, out.stdout.split())
    assert opened < 1000 and read < 4000  # kB

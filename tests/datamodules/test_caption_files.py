"""Caption sets as people publish them, good and bad."""

import json

import pytest

from textok.datamodules.caption_files import CaptionFields, read_rows

ROWS = [
    {"file_name": "train/n01440764/n01440764_10026.JPEG", "caption": " a tench, ein Fisch 🐟 "},
    {"file_name": "b.jpg", "caption": "two\nlines"},
]


def write(path, rows):
    """A file of rows, in the form that its suffix names."""
    if path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    elif path.suffix == ".parquet":
        import pyarrow
        import pyarrow.parquet

        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    else:
        import csv

        with open(path, "w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(rows[0]), delimiter="\t" if path.suffix == ".tsv" else ",")
            writer.writeheader()
            writer.writerows(rows)
    return path


@pytest.mark.parametrize("suffix", [".jsonl", ".csv", ".tsv", ".parquet"])
def test_all_kinds_of_files_say_the_same(tmp_path, suffix):
    rows = list(read_rows(write(tmp_path / f"set{suffix}", ROWS), CaptionFields()))
    assert [(row.key, row.captions) for row in rows] == [
        ("train/n01440764/n01440764_10026.JPEG", ["a tench, ein Fisch 🐟"]),
        ("b.jpg", ["two\nlines"]),
    ]
    assert f"set{suffix}" in rows[0].where


def test_keys_are_made_from_fields(tmp_path):
    file = write(tmp_path / "a.jsonl", [{"synset": "n01440764", "number": 10026, "captions": ["x", None, "", "y"]}])
    (row,) = read_rows(file, CaptionFields(key="{synset}_{number}"))
    assert (row.key, row.captions) == ("n01440764_10026", ["x", "y"])
    (row,) = read_rows(file, CaptionFields(key="number"))
    assert row.key == "10026"
    file = write(tmp_path / "b.jsonl", ROWS)
    assert [row.key for row in read_rows(file, CaptionFields(stem=True))] == ["n01440764_10026", "b"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b'{"key": "b", "caption": 3}', "line 2: the caption of 'b' is no string but 3"),
        (b'{"key": "b", "caption": {"en": "x"}}', "line 2: the caption of 'b' is no string"),
        (
            b'{"key": "b", "label": 3}',
            "line 2: there is no field captions or caption or text; the fields are key, label",
        ),
        (b'{"number": 2, "caption": "x"}', "line 2: there is no field key or file_name"),
        (b'{"key": "", "caption": "x"}', "line 2: the key is empty"),
        (b'{"key": "b", "caption"', "line 2 is no JSON"),
        (b'["b", "x"]', "line 2 is no JSON object"),
        (b'{"key": "b", "caption": "caf\xe9"}', "line 2 is not UTF-8: convert the file"),
        (b'{"key": "b", "caption": "\\ud83d"}', "line 2: .* is not valid Unicode"),
    ],
)
def test_a_bad_line_is_named_or_counted(tmp_path, line, message):
    file = tmp_path / "a.jsonl"
    file.write_bytes(b'{"key": "a", "caption": "x"}\n' + line + b'\n\n{"key": "c", "caption": "y"}')
    with pytest.raises(ValueError, match=message):
        list(read_rows(file, CaptionFields()))
    problems = []
    assert [row.key for row in read_rows(file, CaptionFields(), problems.append)] == ["a", "c"]
    assert len(problems) == 1 and "line 2" in problems[0]


def test_bad_lines_of_csv(tmp_path):
    file = tmp_path / "a.csv"
    file.write_bytes(b"\xef\xbb\xbfkey,caption\na,x\nb,caf\xe9\nc\nd,y,z\ne,y\n")
    problems = []
    assert [row.key for row in read_rows(file, CaptionFields(), problems.append)] == ["a", "e"]
    assert ["line 3 is not UTF-8" in problems[0], "line 4 does not have" in problems[1]] == [True, True]
    assert "line 5 does not have as many fields" in problems[2] and len(problems) == 3


def test_files_that_are_no_caption_sets(tmp_path):
    (tmp_path / "a.txt").touch()
    with pytest.raises(ValueError, match=r"a\.txt is none of \.jsonl, \.csv, \.tsv, \.parquet"):
        list(read_rows(tmp_path / "a.txt", CaptionFields()))
    with pytest.raises(FileNotFoundError, match=r"none\.csv does not exist"):
        list(read_rows(tmp_path / "none.csv", CaptionFields()))
    (tmp_path / "a.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(ValueError, match=r"a\.parquet is no Parquet file"):
        list(read_rows(tmp_path / "a.parquet", CaptionFields()))

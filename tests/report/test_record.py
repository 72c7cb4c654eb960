"""What a run folder tells."""

import pytest

from textok.report import read_records
from textok.report.record import columns, reads_text


def test_a_run_is_read(make_run):
    folder = make_run(
        "a",
        num_latents=32,
        text=(False, True),
        metrics={"val/psnr": 20.5, "test/psnr": 21.0, "test/rfid": None},
        evaluation={"full": {"rfid": 1.25, "extractor": "inception"}},
        curves=[(1, {"train/l2": 0.5}), (2, {"train/l2": 0.25, "val/psnr": 20.5})],
    )
    (record,) = read_records([folder])
    assert (record.name, record.stage, record.num_latents, record.image_size) == ("a", "tokenizer", 32, 16)
    assert (record.setting, record.text) == ("Shapes, 16 px", "text in the detokenizer only")
    assert record.numbers == {"val": {"psnr": 20.5}, "test": {"psnr": 21.0}, "full": {"rfid": 1.25}}
    assert record.curves == {"train/l2": ([1, 2], [0.5, 0.25]), "val/psnr": ([2], [20.5])}


def test_a_folder_of_runs_in_order_and_no_run_twice(make_run, tmp_path):
    for name in ("n_128", "n_32"):
        make_run(f"both/{name}")
    make_run("both/a_generator", stage="generator")
    records = read_records([tmp_path / "both", tmp_path / "both" / "n_32"])
    assert [record.name for record in records] == ["n_32", "n_128", "a_generator"]


def test_runs_of_one_name_are_told_apart(make_run):
    folders = [make_run("x/tokenizer"), make_run("y/tokenizer")]
    assert [record.name for record in read_records(folders)] == ["x/tokenizer", "y/tokenizer"]


def test_a_run_before_its_first_validation(make_run):
    folder = make_run("a")
    (folder / "metrics.json").unlink()
    (record,) = read_records([folder])
    assert record.steps is None and record.numbers == {} and record.curves == {}


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("config.yaml", "trainer: {max_steps: 4}", "config.yaml is no configuration of a textok run: it lacks 'model'"),
        ("config.yaml", "a: [", "config.yaml is no configuration of a textok run"),
        ("metrics.json", "{", "metrics.json is damaged"),
        ("metrics.json", "[1]", "metrics.json holds a list"),
        ("metrics.json", '{"metrics": [1]}', "metrics.json holds metrics that are a list"),
    ],
)
def test_damaged_files_are_named(make_run, file, content, message):
    folder = make_run("a")
    (folder / file).write_text(content)
    with pytest.raises(ValueError, match=message):
        read_records([folder])


def test_a_plug_in_says_itself_whether_it_reads_text():
    assert not reads_text({"class_path": "textok.models.NoText"})
    assert reads_text("textok.models.InContext")
    assert reads_text("not_installed_here.Mine")


def test_gaps_in_curves_are_left_out():
    rows = [{"step": "1", "a": "0.5", "b": ""}, {"step": "2", "a": "", "b": "nan"}]
    curves = columns(rows)
    assert curves["a"] == ([1], [0.5]) and curves["b"][0] == [2]

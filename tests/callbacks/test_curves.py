"""The curve file: columns that come later, and a run that goes on."""

from textok.callbacks import CurveLogger
from textok.callbacks.curves import read_curves


def test_rows_and_late_columns(tmp_path):
    logger = CurveLogger(tmp_path / "curves.csv")
    logger.log_metrics({"train/a": 1.0}, step=1)
    logger.log_metrics({"train/a": 0.1, "val/b": 2.5}, step=2)
    logger.log_metrics({"train/a": 3.0}, step=3)
    rows = read_curves(tmp_path / "curves.csv")
    assert rows == [
        {"step": "1", "train/a": "1.0", "val/b": ""},
        {"step": "2", "train/a": "0.1", "val/b": "2.5"},
        {"step": "3", "train/a": "3.0", "val/b": ""},
    ]


def test_a_resumed_run_has_neither_gaps_nor_doubled_rows(tmp_path):
    first = CurveLogger(tmp_path / "curves.csv")
    for step in range(1, 6):
        first.log_metrics({"train/a": float(step)}, step=step)
    resumed = CurveLogger(tmp_path / "curves.csv", from_step=3)
    for step in (4, 5, 6):
        resumed.log_metrics({"train/a": 10.0 * step}, step=step)
    rows = read_curves(tmp_path / "curves.csv")
    assert [int(row["step"]) for row in rows] == [1, 2, 3, 4, 5, 6]
    assert [float(row["train/a"]) for row in rows] == [1.0, 2.0, 3.0, 40.0, 50.0, 60.0]


def test_a_half_written_last_line_is_dropped(tmp_path):
    file = tmp_path / "curves.csv"
    file.write_text("step,train/a,train/b\n1,0.5,0.5\n2,0.")
    resumed = CurveLogger(file, from_step=2)
    resumed.log_metrics({"train/a": 0.25, "train/b": 0.25}, step=2)
    assert [row["train/a"] for row in read_curves(file)] == ["0.5", "0.25"]


def test_a_fresh_start_does_not_keep_old_rows(tmp_path):
    file = tmp_path / "curves.csv"
    file.write_text("step,train/a\n1,0.5\n")
    CurveLogger(file).log_metrics({"train/a": 2.0}, step=1)
    assert read_curves(file) == [{"step": "1", "train/a": "2.0"}]

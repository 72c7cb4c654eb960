"""Which numbers may stand in one plot."""

from textok.report import read_records
from textok.report.comparison import against_time, against_tokens, missing_time, missing_tokens


def lines(panel):
    return {text: [(point.x, point.y) for point in points] for text, points in panel.lines.items()}


def test_two_lines_over_the_token_counts(make_run, tmp_path):
    for text, values in (((True, True), (2.4, 1.5, 1.0)), ((False, False), (3.8, 2.0, 1.5))):
        for count, rfid in zip((32, 64, 128), values):
            make_run(f"{text[0]}_{count}", num_latents=count, text=text, metrics={"test/rfid": rfid})
    records = read_records([tmp_path])
    (panel,) = against_tokens(records)
    assert (panel.metric, panel.source, panel.setting) == ("rfid", "test", "Shapes, 16 px")
    assert lines(panel) == {
        "with text": [(32, 2.4), (64, 1.5), (128, 1.0)],
        "without text": [(32, 3.8), (64, 2.0), (128, 1.5)],
    }
    assert missing_tokens(records, [panel]) == ""


def test_runs_on_other_data_are_in_another_plot(make_run, tmp_path):
    for data in ("ShapesDataModule", "EmojiDataModule"):
        for count in (16, 32):
            make_run(f"{data}_{count}", num_latents=count, data=data, metrics={"val/psnr": float(count)})
    panels = against_tokens(read_records([tmp_path]))
    assert sorted(panel.setting for panel in panels) == ["Emoji, 16 px", "Shapes, 16 px"]
    assert all(lines(panel) == {"with text": [(16, 16.0), (32, 32.0)]} for panel in panels)


def test_val_and_test_are_never_joined(make_run, tmp_path):
    make_run("a", num_latents=16, metrics={"val/psnr": 20.0, "test/psnr": 30.0})
    make_run("b", num_latents=32, metrics={"val/psnr": 21.0})
    (panel,) = against_tokens(read_records([tmp_path]))
    assert panel.source == "val"
    assert lines(panel) == {"with text": [(16, 20.0), (32, 21.0)]}


def test_text_in_one_half_is_a_line_of_its_own(make_run, tmp_path):
    for number, text in enumerate([(True, True), (True, False), (False, True), (False, False)]):
        make_run(f"r{number}", num_latents=16 * (number + 1), text=text, metrics={"test/rfid": 1.0 + number})
    (panel,) = against_tokens(read_records([tmp_path]))
    assert [len(points) for points in panel.lines.values()] == [1, 1, 1, 1]


def test_one_token_count_is_told_and_not_drawn(make_run, tmp_path):
    make_run("a", metrics={"val/psnr": 20.0})
    records = read_records([tmp_path])
    assert against_tokens(records) == []
    assert "These runs have 16 latent tokens" in missing_tokens(records, [])


def test_a_missing_line_is_told(make_run, tmp_path):
    for count in (16, 32):
        make_run(f"n{count}", num_latents=count, metrics={"val/psnr": 20.0})
    records = read_records([tmp_path])
    assert (
        missing_tokens(records, against_tokens(records)) == "PSNR on Shapes, 16 px: no run without text was measured."
    )


def test_quality_against_time_takes_every_evaluation_of_a_run(make_run, tmp_path):
    evaluation = {f"steps{n}": {"gfid": 9.0 / n, "seconds_per_image": n / 10} for n in (1, 2, 3)}
    make_run("a", stage="generator", evaluation=evaluation | {"untimed": {"gfid": 1.0}})
    records = read_records([tmp_path])
    (panel,) = against_time(records)
    assert lines(panel) == {"with text": [(0.1, 9.0), (0.2, 4.5), (0.3, 3.0)]}
    assert missing_time(records, [panel]) == ""


def test_time_that_nobody_took_is_told(make_run, tmp_path):
    make_run("a", stage="generator", metrics={"val/gfid": 3.0})
    make_run("b", metrics={"val/psnr": 20.0})
    records = read_records([tmp_path])
    assert against_time(records) == []
    assert "seconds_per_image" in missing_time(records, [])
    assert "all tokenizers" in missing_time(read_records([tmp_path / "b"]), [])


def test_evaluations_of_other_numbers_of_images_are_never_joined(make_run, tmp_path):
    for count, images in ((16, 500), (32, 50_000), (64, 50_000)):
        found = {"generation": {"gfed": float(count), "seconds_per_image": count / 100}}
        told = {"conventions": {"num_images": images}}
        make_run(f"n{count}", stage="generator", num_latents=count, evaluation=found, told=told)
    records = read_records([tmp_path])
    (tokens,), (time,) = against_tokens(records), against_time(records)
    assert tokens.source == "generation, 50,000 images" and time.source == "50,000 images"
    assert lines(tokens) == {"with text": [(32, 32.0), (64, 64.0)]}
    assert lines(time) == {"with text": [(0.32, 32.0), (0.64, 64.0)]}

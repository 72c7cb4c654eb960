"""The page, through the command line."""

import re

import pytest

from textok.cli import main
from textok.report.sweep import SweepAxis, SweepCell, SweepTable

HOSTILE = "<script>alert(1)<b>&\"'$\\frac{$_"


def curves(rate):
    rows = [(step, {"train/l2": rate / step, "train/grad_norm": 1.0}) for step in range(1, 41)]
    return [*rows, (40, {"val/l2": rate, "val/psnr": 20 / rate, "val/psnr_empty": 19 / rate, "val/psnr_other": 18.0})]


@pytest.fixture
def report(tmp_path):
    """Runs the command and gives the page and its folder."""

    def run(*paths):
        assert main(["report", *map(str, paths), "--output", str(tmp_path / "out")]) == 0
        return (tmp_path / "out" / "report.html").read_text(), tmp_path / "out"

    return run


def test_a_sweep_on_one_page(make_run, report, tmp_path, capsys):
    colours = [[(200, 30, 40), (20, 160, 60)], [(180, 60, 60), (60, 140, 80)]]
    for reads, worse in ((True, 1.0), (False, 1.5)):
        for count in (32, 64):
            made = {"num_latents": count, "text": (reads, reads)}
            metrics = {"test/rfid": worse * 64 / count, "val/psnr": 20.0, "val/psnr_empty": 18.25}
            make_run(f"sweep/t{reads}_{count}", **made, metrics=metrics, curves=curves(worse), colours=colours)
            evaluation = {"50k": {"gfid": worse * 99 / count, "seconds_per_image": count / 100}}
            make_run(f"sweep/g{reads}_{count}", "generator", **made, evaluation=evaluation)
    page, folder = report(tmp_path / "sweep")
    assert capsys.readouterr().out.strip() == str(folder / "report.html")
    assert "4 tokenizers and 4 generators on Shapes, 16 px" in page
    # In the table and, aligned to the column's greatest, with as many places as its neighbours.
    assert '<td class="number">3.000</td>' in page and '<td class="number">18.25</td>' in page
    names = {path.name for path in folder.glob("*.png")}
    assert {
        "curve_tokenizer_l2.png",
        "curve_tokenizer_psnr.png",
        "tokens_tokenizer_rfid_Shapes_16_px.png",
        "tokens_generator_gfid_Shapes_16_px.png",
        "time_generator_gfid_Shapes_16_px.png",
        "reconstructions_Shapes_16_px.png",
    } <= names
    assert "Not drawn" not in page and "no run without text" not in page
    assert page.count("<img ") == len(names) + 4  # each plot, and each tokenizer's own picture


def test_a_sweep_has_its_table_and_plots(make_run, report, tmp_path):
    make_run("sweep/8_text", num_latents=8)
    cells = [SweepCell({"n": n}, {"psnr": found}, 2) for n, found in (("8", [20.0, 21.0]), ("16", [22.0, 23.0]))]
    axes = [SweepAxis("n", "latent tokens", {"8": "8", "16": "16"})]
    SweepTable(f"Sweep {HOSTILE}", "textok sweep x", axes, ["psnr"], cells, 2, "n").write(
        tmp_path / "sweep" / "results"
    )
    page, folder = report(tmp_path / "sweep")
    assert "22.50 ± 0.71" in page and "Sweep &lt;script&gt;" in page
    assert (folder / "sweep_sweep" / "psnr.png").is_file()
    assert "by latent tokens" in page


def test_the_page_needs_nothing_beside_it_and_escapes_what_it_quotes(make_run, report):
    folder = make_run(
        HOSTILE,
        data=f"{HOSTILE}DataModule",
        metrics={"val/psnr": 20.0, f"val/{HOSTILE}": 1.0},
        evaluation={HOSTILE: {"rfid": 2.0}},
        curves=[*curves(1.0), (41, {f"train/{HOSTILE}": 2.0})],
        colours=[[(200, 30, 40)], [(180, 60, 60)]],
    )
    other = make_run(f"_{HOSTILE}", data=f"{HOSTILE}DataModule", num_latents=32, metrics={"val/psnr": 21.0})
    page, _ = report(folder, other)
    assert "&lt;script&gt;alert(1)&lt;b&gt;&amp;&quot;&#x27;$" in page
    text = re.sub(r"data:image/png;base64,[A-Za-z0-9+/=]+", "DATA", page)
    assert "&#x27;$\\frac{$_ a caption</li>" in page
    assert not re.search(r"<(script|link|iframe|object|b)\b|https?://|url\(|@import", text)
    assert set(re.findall(r'\b(?:src|href)="?([^">]*)', text)) == {"DATA"}
    assert "default-src 'none'" in text


def test_what_is_missing_is_said(make_run, report):
    page, _ = report(make_run("a"))
    for sentence in (
        "These runs have 16 latent tokens.",
        "these are all tokenizers",
        "No run has a curves.csv yet.",
        "No run left a picture of reconstructions",
        "No run left samples",
    ):
        assert sentence in page


def test_warnings_of_an_evaluation_are_shown(make_run, report):
    told = {"warnings": ["80 images are fewer than <1280> features"]}
    page, _ = report(make_run("a", evaluation={"reconstruction": {"rfed": 2.0}}, told=told))
    assert "a: 80 images are fewer than &lt;1280&gt; features" in page


def test_a_single_run_shows_its_own_picture(make_run, report):
    page, folder = report(make_run("a", colours=[[(200, 30, 40)], [(180, 60, 60)]]))
    assert page.count("<img ") == 1 and 'alt="Reconstructions of a"' in page
    assert list(folder.glob("*.png")) == []


@pytest.mark.parametrize(("name", "reason"), [("empty", "hold no config.yaml"), ("nowhere", "there is no such folder")])
def test_a_folder_that_is_no_run(tmp_path, capsys, name, reason):
    (tmp_path / "empty").mkdir()
    assert main(["report", str(tmp_path / name), "--output", str(tmp_path / "out")]) == 1
    error = capsys.readouterr().err
    assert f"{tmp_path / name} is no run folder" in error and reason in error
    assert len(error.splitlines()) == 1
    assert not (tmp_path / "out").exists()

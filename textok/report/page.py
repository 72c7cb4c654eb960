"""The page: tables, plots and pictures of some runs in one HTML file that needs nothing beside it.

Every word from outside goes through :func:`html.escape`, and the page forbids its browser any fetch and any script.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Sequence
from html import escape
from pathlib import Path
from typing import Any

from textok.report import plots
from textok.report.comparison import against_time, against_tokens, comparable, missing_time, missing_tokens
from textok.report.labels import WATCHED, title
from textok.report.record import RunRecord, read_records
from textok.report.style import CSS
from textok.report.sweep import read_table
from textok.report.sweep_files import write_plot
from textok.report.tables import numbers_table, runs_table, table
from textok.report.tiles import compare_reconstructions
from textok.storage import atomic_path, write_atomic

STAGES = {"tokenizer": "Stage 1: tokenizer", "generator": "Stage 2: generator"}
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


def write_report(paths: Sequence[str | Path], output: str | Path) -> Path:
    """Write ``report.html``, and each plot as a PNG beside it.

    Args:
        paths: Run folders, or folders of run folders.
        output: Where to write; made if need be.

    Returns:
        The page.

    Raises:
        ValueError: If a path leads to no run, or a run's file is damaged.
    """
    records, output = read_records(paths), Path(output)
    output.mkdir(parents=True, exist_ok=True)
    sections = [
        *sweeps(paths, output),
        section("Runs", "", runs_table(records) + numbers_table(records)),
        section(
            "Training curves",
            "Losses are unweighted. Where there are several runs, reconstructions are those with their own caption.",
            curves(records, output),
        ),
        section(
            "Quality against latent tokens",
            "Runs with and without text: how many tokens the text saves (the paper's figure 3).",
            compared(against_tokens(records), missing_tokens, plots.plot_tokens, "tokens", records, output),
        ),
        section(
            "Quality against sampling time",
            "Time to sample one image, detokenizer included (the paper's figure 4).",
            compared(against_time(records), missing_time, plots.plot_time, "time", records, output),
        ),
        section(
            "Reconstructions",
            "Held-out images; the same ones wherever runs stand side by side.",
            reconstructions(records, output),
        ),
        section(
            "Samples",
            "Each row one class, or each column one caption, from noise that is the same at every validation.",
            samples(records),
        ),
    ]
    path = output / "report.html"
    write_atomic(path, document(records, "".join(sections)))
    return path


def document(records: Sequence[RunRecord], body: str) -> str:
    from textok import __version__

    counts = [(sum(record.stage == stage for record in records), stage) for stage in STAGES]
    runs = " and ".join(f"{count} {stage}{'s' * (count > 1)}" for count, stage in counts if count)
    settings = "; ".join(dict.fromkeys(record.setting for record in records))
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{POLICY}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(", ".join(record.name for record in records))} · textok report</title>
<style>{CSS}</style>
</head>
<body>
<main>
<h1>Training report</h1>
<p class="lede">{escape(f"{runs} on {settings}")}</p>
{body}
<footer>Written by textok {escape(__version__)}.</footer>
</main>
</body>
</html>
"""


def section(heading: str, about: str, body: str) -> str:
    about = f'<p class="about">{escape(about)}</p>' if about else ""
    return f"<section>\n<h2>{escape(heading)}</h2>\n{about}\n{body}\n</section>\n"


def sweeps(paths: Sequence[str | Path], output: Path) -> list[str]:
    """The tables and plots of the sweeps at some paths, each a section of its own."""
    sections = []
    for path in paths:
        file = Path(path) / "results" / "sweep.json"
        if not file.is_file():
            continue
        found = read_table(file)
        words = set(range(len(found.axes)))
        head, rows = found.rows()
        parts = [table(head, rows, numeric=set(range(len(head))) - words)]
        for change in found.changes():
            head, rows = change.rows(found.axis(found.x).title)
            parts.append(f"<h3>{escape(f'Change: {change.of}, against {change.against}')}</h3>")
            parts.append(table(head, rows, numeric=set(range(1, len(head)))))
        folder = output / f"sweep_{file_name(Path(path).name)}"
        plots_made = [plot for metric in found.metrics if (plot := write_plot(found, metric, folder))]
        drawn = "".join(figure(plot, f"{title(plot.stem)} by {found.axis(found.x).title}") for plot in plots_made)
        parts.append(f'<div class="plots">{drawn}</div>')
        about = "Mean ± standard deviation over seeds. " + " ".join(found.notes)
        sections.append(section(found.title, about, "".join(parts)))
    return sections


def curves(records: Sequence[RunRecord], output: Path) -> str:
    """A plot a term and stage; what only watches the machine is folded away."""
    parts = []
    for stage, heading in STAGES.items():
        runs = [record for record in records if record.stage == stage and record.curves]
        if not runs:
            continue
        shown, folded = [], []
        # What is measured, on validation only, comes before what is minimised.
        terms = sorted(plots.curve_terms(runs).items(), key=lambda item: "train" in item[1])
        for term, kinds in terms:
            path = output / f"curve_{stage}_{file_name(term)}.png"
            plots.plot_curves(path, term, kinds, runs)
            plot = figure(path, f"{title(term)} over the steps of {', '.join(run.name for run in runs)}")
            (folded if term.endswith(WATCHED) else shown).append(plot)
        parts.append(f'<h3>{heading}</h3>\n<div class="plots">{"".join(shown)}</div>')
        if folded:
            summary = "Optimisation and speed: gradients, learning rates, throughput"
            parts.append(f'<details><summary>{summary}</summary><div class="plots">{"".join(folded)}</div></details>')
    return "\n".join(parts) or missing("No run has a curves.csv yet.")


def compared(
    panels: Sequence, lack: Callable, plot: Callable, name: str, records: Sequence[RunRecord], output: Path
) -> str:
    """The plots of a comparison, and what they lack in a sentence."""
    figures = []
    for panel in panels:
        path = output / f"{name}_{file_name(f'{panel.stage}_{panel.metric}_{panel.setting}')}.png"
        plot(path, panel)
        figures.append(figure(path, f"{title(panel.metric)} against {name}, {panel.setting}"))
    drawn = f'<div class="plots">{"".join(figures)}</div>' if figures else ""
    return drawn + missing(lack(records, panels))


def reconstructions(records: Sequence[RunRecord], output: Path) -> str:
    """Runs side by side where they show the same pictures; each run's own picture else, and folded away beneath."""
    parts = []
    for stage, setting, runs in comparable(records):
        if stage != "tokenizer":
            continue
        own = [
            picture(path, f"Reconstructions of {run.name}", f"{run.name}: {run.num_latents} tokens, {run.text}")
            + captions(run.words("reconstruction"))
            for run in runs
            if (path := run.picture("reconstruction"))
        ]
        grid = compare_reconstructions(runs)
        if grid is None:
            parts += own
            continue
        path = output / f"reconstructions_{file_name(setting)}.png"
        with atomic_path(path) as temporary:
            grid.save(temporary)
        parts.append(
            picture(
                path,
                f"Reconstructions by number of tokens, {setting}",
                f"{setting}: latent tokens across, without and with text down",
            )
        )
        parts.append(f"<details><summary>Each run's own picture</summary>{''.join(own)}</details>")
    return "\n".join(parts) or missing("No run left a picture of reconstructions: pictures/reconstruction.png.")


def samples(records: Sequence[RunRecord]) -> str:
    """The samples of each run: of classes, of captions, or of both."""
    pictures = []
    for run in records:
        about = f"{run.name}: {run.num_latents} tokens, {run.text}"
        for name, what in (("samples", "Samples"), ("prompts", "Samples of captions")):
            if path := run.picture(name):
                words = run.words(name)
                rows = ", ".join(map(str, words.get("rows", [])))
                pictures.append(picture(path, f"{what} of {run.name}{f': {rows}' if rows else ''}", about))
                pictures.append(captions(words))
    return "\n".join(pictures) or missing("No run left samples: pictures/samples.png of stage 2.")


def captions(words: dict[str, Any]) -> str:
    """The captions of a picture in full, folded away: in the picture they are cut, and nobody can search it."""
    entries = words.get("captions", [])
    if not entries:
        return ""
    rows = []
    for entry in entries:
        texts = entry if isinstance(entry, dict) else {"own": entry}
        own = escape(str(texts.get("own") or "(no caption)"))
        other = f" <small>other: {escape(str(texts['other']))}</small>" if texts.get("other") else ""
        rows.append(f"<li>{own}{other}</li>")
    return f"<details><summary>Captions, left to right</summary><ol>{''.join(rows)}</ol></details>"


def figure(path: Path, alt: str) -> str:
    return f'<figure><img src="{data_uri(path)}" alt="{escape(alt)}"></figure>'


def picture(path: Path, alt: str, caption: str) -> str:
    """A wide picture: it shrinks while its words stay legible, then it scrolls in its own box."""
    from PIL import Image

    with Image.open(path) as file:
        width = file.width
    style = f"--natural: {width}px; --least: {min(round(0.75 * width), 1040)}px"
    return (
        f'<figure><div class="scroll picture" tabindex="0"><img src="{data_uri(path)}" alt="{escape(alt)}" '
        f'style="{style}"></div><figcaption>{escape(caption)}</figcaption></figure>'
    )


def data_uri(path: Path) -> str:
    return f"data:image/png;base64,{base64.b64encode(path.read_bytes()).decode()}"


def missing(sentence: str) -> str:
    return f'<p class="missing">{escape(sentence)}</p>' if sentence else ""


def file_name(words: str) -> str:
    """Words as a part of a file's name."""
    return re.sub(r"[^A-Za-z0-9]+", "_", words).strip("_")

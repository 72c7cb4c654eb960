"""The tables: what the runs are, and what was measured on them."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from textok.report.labels import CAPTIONS, LABELS, decimals, duration, split_caption, title
from textok.report.record import RunRecord

DASH = "\u2013"


def runs_table(records: Sequence[RunRecord]) -> str:
    """A row a run: its choices and how long it trained."""
    head = ["Run", "Stage", "Data", "Image", "Latent tokens", "Text", "Steps", "Images seen", "Training time"]
    rows = []
    for run in records:
        steps = DASH if run.steps is None else f"{run.steps:,}"
        if run.steps is not None and 0 <= run.steps < run.max_steps:
            steps += f" of {run.max_steps:,}"
        rows.append(
            [
                run.name,
                run.stage,
                run.data,
                DASH if run.image_size is None else f"{run.image_size} px",
                str(run.num_latents),
                run.text,
                steps,
                DASH if run.images_seen is None else f"{run.images_seen:,}",
                DASH if run.seconds is None else duration(run.seconds),
            ]
        )
    return table(head, rows, numeric={3, 4, 6, 7, 8})


def numbers_table(records: Sequence[RunRecord]) -> str:
    """For each stage a row a run, source and caption; a column a metric."""
    parts = []
    for stage in ("tokenizer", "generator"):
        found: dict[tuple[str, str, str], dict[str, float]] = {}
        for run in (record for record in records if record.stage == stage):
            for source, numbers in run.numbers.items():
                for name, value in numbers.items():
                    metric, ending = split_caption(name)
                    found.setdefault((run.name, source, ending), {})[metric] = value
        if found:
            parts.append(f"<h3>Measured on the {stage}s</h3>" + measured(found))
        warned = [f"{run.name}: {warning}" for run in records if run.stage == stage for warning in run.warnings]
        parts += [f'<p class="missing">{escape(warning)}</p>' for warning in warned]
    return "".join(parts)


def measured(found: dict[tuple[str, str, str], dict[str, float]]) -> str:
    known = list(LABELS)
    metrics = sorted(
        {metric for numbers in found.values() for metric in numbers},
        key=lambda metric: (known.index(metric) if metric in known else len(known), metric),
    )
    places = {m: decimals([numbers[m] for numbers in found.values() if m in numbers]) for m in metrics}
    by_caption = any(ending for _, _, ending in found)
    head = ["Run", "Measured in", *(["Caption"] if by_caption else []), *map(heading, metrics)]
    endings, runs = list(CAPTIONS), list(dict.fromkeys(run for run, _, _ in found))
    rows = []
    for run, source, ending in sorted(found, key=lambda key: (runs.index(key[0]), key[1], endings.index(key[2]))):
        numbers = found[run, source, ending]
        values = [f"{numbers[m]:.{places[m]}f}" if m in numbers else DASH for m in metrics]
        rows.append([run, source, *([CAPTIONS[ending]] if by_caption else []), *values])
    first = len(head) - len(metrics)
    return table(head, rows, numeric=set(range(first, len(head))))


def heading(metric: str) -> str:
    """A column's words: the metric, its unit, and an arrow that points to the better side."""
    _, unit, better = LABELS.get(metric, ("", "", ""))
    arrow = {"higher": " ↑", "lower": " ↓", "": ""}[better]
    return title(metric) + (f" ({unit})" if unit else "") + arrow


def table(head: Sequence[str], rows: Sequence[Sequence[str]], numeric: set[int]) -> str:
    """An HTML table in a box of its own that scrolls; a run's name is not repeated in the rows that follow."""

    def cell(column: int, text: str, scope: str = "") -> str:
        kind = ' class="run"' if column == 0 else ' class="number"' if column in numeric else ""
        tag, scope = ("th", f' scope="{scope}"') if scope else ("td", "")
        return f"<{tag}{scope}{kind}>{escape(text)}</{tag}>"

    lines = []
    for number, row in enumerate(rows):
        repeated = number > 0 and rows[number - 1][0] == row[0]
        same = ' class="same"' if number + 1 < len(rows) and rows[number + 1][0] == row[0] else ""
        cells = [cell(column, text, scope="row" if column == 0 else "") for column, text in enumerate(row)]
        if repeated:
            cells[0] = cell(0, "")
        lines.append(f"<tr{same}>{''.join(cells)}</tr>")
    top = "".join(cell(column, text, scope="col") for column, text in enumerate(head))
    longest = max(len(row[0]) for row in rows) + 4  # its letters are bold
    return (
        f'<div class="scroll" tabindex="0" style="--name: {longest}ch"><table><thead><tr>{top}</tr></thead>'
        f"<tbody>{''.join(lines)}</tbody></table></div>"
    )

"""Which numbers of which runs may stand in one plot: quality against tokens, and against time.

A line joins runs that share the data, the image size, the place of the text, the metric and where it was measured;
an image size of 256 is never joined to one of 512, nor a number of ``val`` to one of ``test``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from textok.report.labels import title
from textok.report.record import TEXT, RunRecord

#: Metrics that answer how good a stage is, the paper's own first.
QUALITY = {
    "tokenizer": ("rfid", "rfd_dinov2", "rfed", "rked", "lpips", "psnr", "ssim"),
    "generator": ("gfid", "gfd_dinov2", "gfed", "gked", "gis", "gprecision", "grecall"),
}
#: The name under which an evaluation says how long it sampled.
TIME = "seconds_per_image"


@dataclass(frozen=True)
class Point:
    """One measurement: what it is plotted against, its value, and the latent tokens of its run."""

    x: float
    y: float
    num_latents: int


@dataclass(frozen=True)
class Panel:
    """The points of one plot.

    Args:
        stage: Which stage was measured.
        metric: What was measured.
        setting: Data and image size.
        source: Where the numbers stand: ``val``, ``test`` or an evaluation file's name.
        lines: Place of the text → its points, from left to right.
    """

    stage: str
    metric: str
    setting: str
    source: str
    lines: dict[str, list[Point]]

    @property
    def points(self) -> list[Point]:
        return [point for line in self.lines.values() for point in line]


def against_tokens(records: Sequence[RunRecord]) -> list[Panel]:
    """Quality against the number of latent tokens, text and no text (the paper's figure 3); two counts make a plot."""
    panels = []
    for stage, setting, runs in comparable(records):
        for metric in QUALITY[stage]:
            candidates = [
                Panel(stage, metric, setting, source, lines)
                for source in sources_of(runs)
                if (
                    lines := lines_of([(run, run.num_latents, run.numbers.get(source, {}).get(metric)) for run in runs])
                )
            ]
            # Where runs were measured in several ways, the way that most of them share.
            best = max(candidates, key=lambda panel: (token_counts(panel), len(panel.points)), default=None)
            if best is not None and token_counts(best) > 1:
                panels.append(best)
    return panels


def against_time(records: Sequence[RunRecord]) -> list[Panel]:
    """Quality against sampling time (the paper's figure 4), by the first metric of each setting that has two points.

    All evaluations of a run count, so that a sweep over sampling steps is a line.
    """
    panels = []
    for stage, setting, runs in comparable([record for record in records if record.stage == "generator"]):
        for metric in QUALITY[stage]:
            amounts: dict[str, list[tuple[RunRecord, float | None, float | None]]] = {}
            for run in runs:
                for source, numbers in run.numbers.items():
                    amounts.setdefault(source.partition(", ")[2], []).append(
                        (run, numbers.get(TIME), numbers.get(metric))
                    )
            found = [Panel(stage, metric, setting, amount, lines_of(measured)) for amount, measured in amounts.items()]
            best = max(found, key=lambda panel: len(panel.points), default=None)
            if best is not None and len(best.points) > 1:
                panels.append(best)
                break
    return panels


def missing_tokens(records: Sequence[RunRecord], panels: Sequence[Panel]) -> str:
    """What the plot against tokens lacks, in a sentence; nothing if it is whole."""
    if not panels:
        counts = sorted({record.num_latents for record in records})
        return (
            "Not drawn: it takes runs with at least two numbers of latent tokens, on the same data and measured the "
            f"same way. These runs have {', '.join(map(str, counts))} latent tokens."
        )
    gaps = {
        f"{title(panel.metric)} on {panel.setting}: no run {text} was measured."
        for panel in panels
        for text in ("with text", "without text")
        if text not in panel.lines
    }
    return " ".join(sorted(gaps))


def missing_time(records: Sequence[RunRecord], panels: Sequence[Panel]) -> str:
    """What the plot against time lacks, in a sentence; nothing if it is whole."""
    if panels:
        return ""
    if not any(record.stage == "generator" for record in records):
        return "Not drawn: it takes runs of stage 2, and these are all tokenizers."
    return (
        "Not drawn: it takes at least two evaluations on the same data that hold both a quality, such as gfid, and "
        f"{TIME}. They are read from the metrics of RUN/evaluation/*.json and RUN/metrics.json."
    )


def comparable(records: Sequence[RunRecord]) -> list[tuple[str, str, list[RunRecord]]]:
    """Runs by stage and setting, in their order."""
    groups: dict[tuple[str, str], list[RunRecord]] = {}
    for record in records:
        groups.setdefault((record.stage, record.setting), []).append(record)
    return [(stage, setting, runs) for (stage, setting), runs in groups.items()]


def sources_of(runs: Sequence[RunRecord]) -> list[str]:
    """Where numbers stand: evaluation files first, then test, then val."""
    found = {source for run in runs for source in run.numbers}
    return sorted(found, key=lambda source: (source == "val", source == "test", source))


def lines_of(measured: Sequence[tuple[RunRecord, float | None, float | None]]) -> dict[str, list[Point]]:
    """Measurements by the place of the text, without those that lack a number."""
    lines: dict[str, list[Point]] = {}
    for text in TEXT.values():
        points = [Point(x, y, run.num_latents) for run, x, y in measured if run.text == text and None not in (x, y)]
        if points:
            lines[text] = sorted(points, key=lambda point: (point.x, point.y))
    return lines


def token_counts(panel: Panel) -> int:
    return len({point.num_latents for point in panel.points})

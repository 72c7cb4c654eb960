"""Keep the curves of some runs in docs/curves, for others to compare theirs with.

    python scripts/reference_curves.py NAME RUN …

A row every so many steps of each run, as NAME_RUN.csv, and a plot of the terms that tell whether a run is normal,
NAME_TERM.png.
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

from textok.report.plots import curve_terms, plot_curves
from textok.report.record import RunRecord, read_records

FOLDER = Path(__file__).parents[1] / "docs" / "curves"
#: Of whichever there are.
TERMS = ("reconstruction", "psnr", "perceptual", "discriminator_accuracy", "logit_gap", "grad_norm", "loss", "mse")
ROWS = 60


def write_rows(path: Path, record: RunRecord) -> None:
    """The shown terms of a run, the mean of each over stretches of steps."""
    names = [
        name
        for name in record.curves
        if name.partition("/")[2] in TERMS or name.partition("/")[2].startswith(("psnr_", "ssim"))
    ]
    stretch = max(1, record.max_steps // ROWS)
    found: dict[int, dict[str, list[float]]] = {}
    for name in names:
        for step, value in zip(*record.curves[name]):
            end = -(-step // stretch) * stretch
            found.setdefault(end, {}).setdefault(name, []).append(value)
    with open(path, "w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["step", *names])
        for step, values in sorted(found.items()):
            means = [f"{sum(values[name]) / len(values[name]):.5g}" if name in values else "" for name in names]
            writer.writerow([step, *means])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", help="what the files' names begin with")
    parser.add_argument("runs", nargs="+", type=Path, help="run folders")
    args = parser.parse_args()
    FOLDER.mkdir(parents=True, exist_ok=True)
    records = read_records(args.runs)
    for record in records:
        write_rows(FOLDER / f"{args.name}_{record.name}.csv", record)
    for term, kinds in curve_terms(records).items():
        if term in TERMS:
            plot_curves(FOLDER / f"{args.name}_{term}.png", term, kinds, records)
    print(*sorted(path.name for path in FOLDER.glob(f"{args.name}_*")), sep="\n")


if __name__ == "__main__":
    main()

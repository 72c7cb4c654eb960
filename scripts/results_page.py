"""Fill the tables of docs/results.md from the sweeps under docs/results.

    python scripts/results_page.py           # writes them
    python scripts/results_page.py --check   # tells whether the page has what would be written

What is between ``<!-- sweep NAME: plot … -->`` and ``<!-- end -->`` is replaced; the words around it are people's.
"""

from __future__ import annotations

import argparse
import difflib
import json
import re
import sys
from pathlib import Path

from textok.callbacks.display import duration
from textok.report.labels import title
from textok.report.sweep import SweepTable, markdown, read_table

DOCS = Path(__file__).parents[1] / "docs"
PAGE = DOCS / "results.md"
BLOCK = re.compile(r"(<!-- sweep (?P<name>\S+):(?P<plots>[^>]*?)-->\n).*?(<!-- end -->)", re.DOTALL)


def block(name: str, plots: list[str]) -> str:
    """What the page says of one sweep: the command, when and how long, the table, the changes and some plots."""
    folder = DOCS / "results" / name
    table = read_table(folder / "sweep.json")
    parts = [f"    {table.command}", when(folder, table), markdown(*table.rows(), num_words=len(table.axes))]
    for change in table.changes():
        if len(change.at) > 1:  # where x is the only other axis there is a row a value, and an average
            parts.append(f"Change: {change.of}, against {change.against}.")
            parts.append(markdown(*change.rows(table.axis(table.x).title)))
    parts += [f"- {note}" for note in table.notes]
    parts += [f"![{title(plot)}](results/{name}/{plot}.png)" for plot in plots]
    return "\n\n".join(parts) + "\n"


def when(folder: Path, table: SweepTable) -> str:
    """How long the runs took and when they ended, of those that the table shows."""
    records = [json.loads(file.read_text()) for file in sorted((folder / "runs").glob("*.json"))]
    sweep = Path(table.command.split()[2]).stem
    own = [record for record in records if record["sweep"] == sweep]
    seconds = sum(sum(record["seconds"].values()) for record in own)
    dates = sorted(record["date"][:10] for record in records)
    days = dates[0] if dates[0] == dates[-1] else f"{dates[0]} to {dates[-1]}"
    taken = "" if len(own) == len(records) else f" and {len(records) - len(own)} taken over"
    deviation = ", mean ± standard deviation over seeds" if table.num_seeds > 1 else ""
    made = f"{len(own)} runs{taken}, {duration(seconds)} of training and evaluation in all, {days}"
    return f"{made}, torch {records[0]['versions']['torch']}{deviation}."


def filled(page: str) -> str:
    """The page with what is to be written."""
    return BLOCK.sub(lambda found: f"{found[1]}\n{block(found['name'], found['plots'].split())}\n{found[4]}", page)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing, tell what differs")
    args = parser.parse_args()
    old = PAGE.read_text()
    new = filled(old)
    if args.check:
        sys.stdout.writelines(difflib.unified_diff(old.splitlines(True), new.splitlines(True), "page", "results"))
        return int(old != new)
    PAGE.write_text(new)
    print(f"written to {PAGE}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

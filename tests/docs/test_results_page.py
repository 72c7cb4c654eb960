"""docs/results.md shows what docs/results holds, and every page's links and files are there."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from textok.report.sweep import read_table
from textok.runs.sweep_plan import SweepPlan
from textok.runs.sweep_results import SweepResults

REPOSITORY = Path(__file__).parents[2]
PAGES = [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").glob("*.md"))]
LINK = re.compile(r"\]\(([^)#:]+)(?:#[^)]*)?\)")
FILE = re.compile(r"(?<![\w/.])((?:configs|scripts|tests|benchmarks)/[\w./-]+\.(?:yaml|py|sh|sbatch))")


def test_the_page_of_results_is_what_its_script_writes():
    command = [sys.executable, REPOSITORY / "scripts" / "results_page.py", "--check"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_what_a_page_names_is_there(page):
    text = page.read_text()
    missing = [link for link in LINK.findall(text) if not (page.parent / link).exists()]
    missing += [file for file in FILE.findall(text) if not (REPOSITORY / file).exists()]
    assert missing == []


@pytest.mark.parametrize("folder", sorted((REPOSITORY / "docs" / "results").iterdir()), ids=lambda folder: folder.name)
def test_results_are_of_the_shipped_sweeps(folder):
    """Otherwise the command above a table would refuse to go on with it."""
    plan = SweepPlan(REPOSITORY / read_table(folder / "sweep.json").command.split()[2])
    assert any(map(SweepResults(folder).has, plan.runs()))
    assert SweepResults(folder).changed(plan.runs()) == {}

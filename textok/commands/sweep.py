"""``textok sweep``: overlays × seeds one after another, with a table and plots."""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

    from textok.runs.sweep_plan import Cell, SweepPlan
    from textok.runs.sweep_results import SweepResults
    from textok.runs.sweep_runner import SweepRunner


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="textok sweep",
        description="Train and evaluate every cell of a sweep file, and write a table (mean ± deviation "
        "over seeds) and a plot a metric. Started again, it skips what is finished and goes on with the rest; started "
        "twice, both share the work.",
    )
    parser.add_argument("sweep", type=Path, help="the sweep file, as in configs/sweeps")
    parser.add_argument("--output", type=Path, help="folder of the runs (sweeps/NAME)")
    parser.add_argument(
        "--results",
        type=Path,
        help="folder of table, plots and each run's results, small enough to commit (OUTPUT/results)",
    )
    parser.add_argument("--only", metavar="CELL", help="the cells that match, such as 32_text_seed0 or '32_*'")
    parser.add_argument("--run", help="the finished run, where a sweep only evaluates one")
    parser.add_argument("--dry-run", action="store_true", help="list the runs, what is finished and the time left")
    parser.add_argument(
        "--keep-changed", action="store_true", help="keep results whose configuration the sweep file has changed since"
    )
    parser.add_argument(
        "--reuse",
        type=Path,
        action="append",
        default=[],
        metavar="FOLDER",
        help="folder of other sweeps' results: what is there of an equal run is taken over; may be given again",
    )
    parser.add_argument("--launcher", default="", help="what starts fit and evaluate, such as srun; by default nothing")
    cluster = parser.add_argument_group("on a cluster")
    cluster.add_argument("--slurm", action="store_true", help="write a job array, a task a cell, and submit it")
    cluster.add_argument(
        "--sbatch", default="", help='options of its jobs, as in --sbatch="--gpus=1 --time=24:00:00 --requeue"'
    )
    cluster.add_argument("--task", type=int, metavar="N", help="do the N-th cell, counted from 0")
    return parser


def main(args: list[str]) -> None:
    """Run a sweep.

    Args:
        args: Command line, beginning with the sub-command's own name.

    Raises:
        ValueError: If the file is wrong, or at the end if a run failed.
    """
    options = build_parser().parse_args(args[1:])
    from rich.console import Console

    from textok.runs.sweep_plan import SweepPlan
    from textok.runs.sweep_results import SweepResults
    from textok.runs.sweep_runner import SweepRunner, in_process_of_its_own

    plan = SweepPlan(options.sweep, options.run)
    cells = chosen_cells(plan, options)
    output = options.output or Path("sweeps") / plan.name
    results = SweepResults(options.results or output / "results")
    launcher = shlex.split(options.launcher)
    execute = in_process_of_its_own(launcher)
    runner = SweepRunner(plan, output, results, execute, Console(), existing(options.reuse))
    plan.check(cells)
    notes = changed_results(plan, results, options.keep_changed)
    if options.dry_run:
        show_plan(runner, cells)
        return
    if options.slurm:
        submit_array(runner, options)
        return
    failures = runner.run(cells)
    command = f"textok {shlex.join(str(part) for part in command_line(plan, runner.output, options))}"
    finish(plan, results, command, notes, runner.console)
    if failures:
        raise ValueError(
            f"{len(failures)} runs failed; the same command tries them again:\n  "
            + "\n  ".join(f"{name}: {reason}" for name, reason in failures.items())
        )


def existing(folders: list[Path]) -> list[Path]:
    """Folders that are to be read.

    Raises:
        ValueError: If one is none.
    """
    for folder in folders:
        if not folder.is_dir():
            raise ValueError(f"--reuse {folder}: there is no such folder")
    return folders


def chosen_cells(plan: SweepPlan, options: argparse.Namespace) -> list[Cell]:
    """The cells that the command line asks for.

    Raises:
        ValueError: If there is none.
    """
    if options.task is None:
        return plan.cells if options.only is None else plan.select(options.only)
    if not 0 <= options.task < len(plan.cells):
        raise ValueError(f"--task is {options.task}, but {plan.path} has the cells 0 to {len(plan.cells) - 1}")
    return [plan.cells[options.task]]


def changed_results(plan: SweepPlan, results: SweepResults, keep: bool) -> list[str]:
    """Notes about results of another recipe, if they are to be kept.

    Raises:
        ValueError: If they are not.
    """
    changed = results.changed(plan.runs())
    if changed and not keep:
        name, lines = next(iter(changed.items()))
        raise ValueError(
            f"{len(changed)} results in {results.folder} were made from another configuration, {name} among them:\n  "
            + "\n  ".join(lines)
            + "\nGive another --output, take their files away, or keep them by --keep-changed"
        )
    return [f"{name} was made from an earlier configuration: {'; '.join(lines)}" for name, lines in changed.items()]


def show_plan(runner: SweepRunner, cells: list[Cell]) -> None:
    """Print every run, whether it is finished, and how long the rest will take by the finished ones."""
    from rich.table import Table

    from textok.callbacks.display import duration

    table = Table(title=f"{runner.plan.sweep.title}: {len(cells)} cells", title_justify="left")
    table.add_column("cell", justify="right")
    table.add_column("run", overflow="fold")
    table.add_column("state", overflow="fold")
    table.add_column("time", justify="right")
    equal = runner.equal(cells)
    number = {cell.runs[-1].name: str(n) for n, cell in enumerate(runner.plan.cells)}  # of --task and of job arrays
    for run in runner.plan.runs(cells):
        state = f"as {equal[run.name]}" if run.name in equal else runner.state(run)
        table.add_row(
            number.get(run.name, ""),
            run.name,
            state,
            duration(runner.results.seconds(run)) if state == "finished" else "",
        )
    runner.console.print(table)
    count, seconds = runner.estimate(cells, equal)
    told = "no finished run to estimate the time by" if seconds is None else f"about {duration(seconds)}"
    runner.console.print(f"{count} runs to do, {told}" if count else "nothing to do", highlight=False)


def submit_array(runner: SweepRunner, options: argparse.Namespace) -> None:
    """Write the job array of the cells that are to be done, and hand it to sbatch."""
    from textok.runs.sweep_slurm import submit, write_job_array

    plan, wanted = runner.plan, chosen_cells(runner.plan, options)
    runner.take_over(wanted)
    tasks = [number for number, cell in enumerate(plan.cells) if cell in wanted and runner.pending([cell])]
    if not tasks:
        runner.console.print("nothing to do: every cell is finished")
        return
    path = runner.output / "sweep.sbatch"
    script = write_job_array(
        path,
        f"sweep-{plan.name}",
        tasks,
        command_line(plan, runner.output, options),
        runner.output / "logs",
        shlex.split(options.sbatch),
    )
    said = submit(script)
    runner.console.print(
        said or f"there is no sbatch here; where there is: sbatch {shlex.quote(str(script))}",
        highlight=False,
        soft_wrap=True,
        markup=False,
    )


def command_line(plan: SweepPlan, output: Path, options: argparse.Namespace) -> list[str]:
    """The arguments that do this sweep again, here or in a job."""
    line = ["sweep", str(plan.path), "--output", str(output)]
    line += ["--results", str(options.results)] if options.results else []
    line += ["--run", options.run] if options.run else []
    line += [part for folder in options.reuse for part in ("--reuse", str(folder))]
    line += ["--launcher", options.launcher] if options.launcher else []
    return line + (["--keep-changed"] if options.keep_changed else [])


def finish(plan: SweepPlan, results: SweepResults, command: str, notes: list[str], console: Console) -> None:
    """Write table and plots of all that is finished, and print the table."""
    from textok.report.sweep_cells import gather
    from textok.report.sweep_files import write_sweep

    table = gather(plan, results, command, notes)
    files = write_sweep(table, results.folder)
    show_table(console, table.title, *table.rows(), num_words=len(table.axes))
    for change in table.changes():
        title = f"change: {change.of}, against {change.against}"
        show_table(console, title, *change.rows(table.axis(table.x).title))
    for note in table.notes:
        console.print(f"note: {note}", soft_wrap=True, markup=False, highlight=False)
    console.print("written: " + ", ".join(map(str, files)), soft_wrap=True, markup=False, highlight=False)


def show_table(console: Console, title: str, head: list[str], rows: list[list[str]], num_words: int = 1) -> None:
    from rich.table import Table

    table = Table(title=title, title_justify="left")
    for number, name in enumerate(head):
        table.add_column(name, justify="left" if number < num_words else "right", overflow="fold")
    for row in rows:
        table.add_row(*row)
    console.print(table)

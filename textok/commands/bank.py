"""``textok bank build`` and ``textok bank classes``: caption sets as one file, captions for sampling as another."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jsonargparse import ArgumentParser, Namespace


def build_parser() -> ArgumentParser:
    from jsonargparse import ArgumentParser

    from textok.datamodules import ImageDataModule
    from textok.datamodules.caption_files import CaptionFields

    parser = ArgumentParser(
        prog="textok bank",
        description="A caption bank holds the captions of many images in one file that any datamodule can take its "
        "captions from.",
        exit_on_error=False,
    )
    build = ArgumentParser(
        description="Make a bank from caption sets: .jsonl, .csv, .tsv or .parquet, an image or a caption a row.",
        exit_on_error=False,
    )
    build.add_argument("files", nargs="+", type=Path, help="the caption sets")
    build.add_argument("--output", type=Path, required=True, help="the bank's file")
    build.add_dataclass_arguments(CaptionFields, "fields")
    build.add_argument(
        "--repeated",
        choices=("error", "join", "first"),
        default="error",
        help="what a key that comes again means: a mistake, further captions of the image, or nothing",
    )
    build.add_argument("--skip_bad", action="store_true", help="leave rows out that cannot be used, and count them")
    classes = ArgumentParser(
        description="Write the captions that samples of each class may be decoded with: those of held-out images, "
        "chosen by the data's policy. It is what model.init_args.class_captions reads.",
        exit_on_error=False,
    )
    classes.add_argument("--config", "-c", action="config", help="a data section, as configs/data/*.yaml")
    classes.add_argument("--data", type=ImageDataModule, required=True, help="the datamodule, perhaps with a bank")
    classes.add_argument("--output", type=Path, required=True, help="the JSON file")
    kinds = parser.add_subcommands(required=True, dest="kind")
    kinds.add_subcommand("build", build, help="make a bank from caption sets")
    kinds.add_subcommand("classes", classes, help="captions of every class, for sampling")
    return parser


def main(args: list[str]) -> None:
    """Make a bank, or the captions of classes.

    Args:
        args: Command line, beginning with the sub-command's own name.
    """
    parser = build_parser()
    options = parser.instantiate_classes(parser.parse_args(args[1:]))
    if options.kind == "build":
        build(options.build)
    else:
        classes(options.classes)


def build(options: Namespace) -> None:
    """Make a bank and print what went into it."""
    from textok.datamodules.caption_bank import build_bank
    from textok.datamodules.caption_files import read_rows

    problems: list[str] = []
    bad = problems.append if options.skip_bad else None
    rows = (row for file in options.files for row in read_rows(file, options.fields, bad))
    summary = build_bank(rows, options.output, options.repeated)
    print(f"{options.output}: {summary.images:,} images, {summary.captions:,} captions")
    for count, what in (
        (summary.repeated, f"rows with a key that came before (--repeated {options.repeated})"),
        (summary.empty, "rows without a caption, left out"),
        (len(problems), "rows that could not be used, left out"),
    ):
        if count:
            print(f"  {count:,} {what}")
    for problem in problems[:5]:
        print(f"    {problem}")


def classes(options: Namespace) -> None:
    """Write the captions of every class."""
    from textok.storage import write_json

    options.data.setup()
    lists = options.data.class_captions()
    entries = [{"name": name, "captions": captions} for name, captions in zip(options.data.class_names, lists)]
    write_json(options.output, entries)
    empty = [entry["name"] for entry in entries if not entry["captions"]]
    print(f"{options.output}: {sum(map(len, lists)):,} captions of {len(lists):,} classes")
    if empty:
        print(f"  {len(empty):,} classes have none, the first is {empty[0]!r}: they will be sampled without a caption")

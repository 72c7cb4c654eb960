"""Configurations that several tests of planning share."""

from pathlib import Path

import pytest

from textok.planning import parse

CONFIGS = Path(__file__).parents[2] / "configs"
ENTRIES = {
    "tokenizer": ["base", "quickstart/tokenizer", "quickstart/pair"],
    "generator": ["base", "quickstart/generator", "quickstart/pair"],
    "paper tokenizer": ["base", "tokenizer", "textok/paper256", "textok/n128", "data/shapes256", "overlays/gpu"],
    "paper generator": ["base", "generator", "textok/paper256", "textok/n128", "data/shapes256", "overlays/gpu"],
}


@pytest.fixture(scope="session")
def options_of():
    """``-c FILE`` for an entry point and further shipped files, by their names without an ending."""

    def options(entry, *more):
        return [part for name in (*ENTRIES[entry], *more) for part in ("-c", str(CONFIGS / f"{name}.yaml"))]

    return options


@pytest.fixture(scope="session")
def parsed(options_of):
    """A parsed entry point with options of its own."""

    def parse_entry(entry, *options, more=()):
        return parse([*options_of(entry, *more), *options])

    return parse_entry

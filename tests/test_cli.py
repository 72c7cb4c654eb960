"""The command line: quick, helpful, and no traceback for a user's error."""

import subprocess
import sys

import pytest

from textok import __version__
from textok.cli import COMMANDS, main


def test_help_lists_every_command_and_imports_nothing_heavy():
    script = (
        "import sys; from textok.cli import main; main(['--help']); "
        "heavy = {'torch', 'lightning', 'transformers', 'numpy', 'rich'} & set(sys.modules); "
        "assert not heavy, heavy"
    )
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    lines = result.stdout.splitlines()
    for name, (_, help_line) in COMMANDS.items():
        assert any(line.split()[:1] == [name] and help_line in line for line in lines)


def test_version(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.strip() == f"textok {__version__}"


def test_an_unknown_command_is_told_with_the_nearest(capsys):
    assert main(["quikstart"]) == 2
    assert "unknown command 'quikstart': did you mean quickstart?" in capsys.readouterr().err


def test_a_run_that_is_none(tmp_path, capsys):
    assert main(["validate", "--run", str(tmp_path)]) == 1
    assert "is no run folder: it holds no config.yaml" in capsys.readouterr().err


def test_a_traceback_on_request(tmp_path, monkeypatch):
    monkeypatch.setenv("TEXTOK_TRACEBACK", "1")
    with pytest.raises(ValueError, match="no run folder"):
        main(["validate", "--run", str(tmp_path)])

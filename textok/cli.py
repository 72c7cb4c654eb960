"""The command ``textok``: finds the sub-command without importing anything heavy."""

from __future__ import annotations

import argparse
import difflib
import importlib
import os
import sys

from textok import __version__

#: Sub-command → module with ``main(args)``, and its line in the help.
COMMANDS = {
    "quickstart": ("textok.commands.quickstart", "train both stages on embedded pictures and show the results"),
    "fit": ("textok.commands.train", "train stage 1 (tokenizer) or stage 2 (generator) from YAML"),
    "validate": ("textok.commands.train", "losses and metrics of a run on the validation set"),
    "test": ("textok.commands.train", "what validate measures, under Lightning's name for it"),
    "predict": ("textok.commands.train", "write a run's latents (stage 1) or samples (stage 2) to shards"),
    "evaluate": ("textok.commands.evaluate", "rFID, PSNR, SSIM of a tokenizer; gFID of a generator"),
    "export": ("textok.commands.export", "a run's averaged weights as a folder for the library and a hub"),
    "convert": ("textok.commands.convert", "a checkpoint whole, in parts, or its weights as safetensors"),
    "generate": ("textok.commands.generate", "pictures of a prompt or a class"),
    "reconstruct": ("textok.commands.reconstruct", "pictures through the tokenizer and back"),
    "encode": ("textok.commands.encode", "pictures to latent tokens in a file"),
    "decode": ("textok.commands.decode", "latent tokens to pictures, with the same captions or others"),
    "sample": ("textok.commands.sample", "many samples of classes or captions: PNG, npz or tar"),
    "sweep": ("textok.commands.sweep", "the runs of a sweep file one after another, with a table and plots"),
    "bank": ("textok.commands.bank", "one file of captions for any dataset; captions to sample classes with"),
    "caption": ("textok.commands.caption", "caption a dataset by a vision-language model"),
    "cache": ("textok.commands.cache", "text tokens of all captions, latents of all images: computed once"),
    "doctor": ("textok.commands.doctor", "check a configuration without training: files, weights, sizes, memory, disk"),
    "estimate": ("textok.commands.estimate", "work, memory, hours and storage of a configuration, without a GPU"),
    "report": ("textok.commands.report", "one HTML page about runs: tables, curves, comparisons and pictures"),
}


def usage() -> str:
    """The text of ``textok --help``."""
    lines = [
        "usage: textok COMMAND [options]",
        "",
        "Train and use TexTok, a language-guided image tokenizer, and the generator on its latents.",
        "",
        "commands:",
        *(f"  {name:<12} {line}" for name, (_, line) in COMMANDS.items()),
        "",
        "options:",
        "  -h, --help   show this text; textok COMMAND --help tells a command's options",
        "  --version    show the version",
        "",
        "example:  textok quickstart --output quickstart",
    ]
    return "\n".join(lines)


def main(args: list[str] | None = None) -> int:
    """Run a sub-command.

    Args:
        args: Command line without the program's name; that of the process by default.

    Returns:
        The exit code: 0, 1 for a user's error in what a command was given, 2 for a command line that is wrong,
        130 after Ctrl-C,
        75 and 76 for a run that a batch system's signal or its watchdog ended, 77 for a command that lost a process.
    """
    args = sys.argv[1:] if args is None else list(args)
    if not args or args[0] in ("-h", "--help", "help"):
        print(usage())
        return 0
    if args[0] in ("-V", "--version"):
        print(f"textok {__version__}")
        return 0
    if args[0] not in COMMANDS:
        near = difflib.get_close_matches(args[0], COMMANDS, n=1)
        hint = f": did you mean {near[0]}?" if near else ""
        print(f"textok: unknown command {args[0]!r}{hint}\nRun textok --help for the list.", file=sys.stderr)
        return 2
    try:
        return importlib.import_module(COMMANDS[args[0]][0]).main(args) or 0
    except KeyboardInterrupt:
        print(f"textok {args[0]}: interrupted; the same command goes on from the last checkpoint", file=sys.stderr)
        return 130
    except argparse.ArgumentError as error:
        if os.environ.get("TEXTOK_TRACEBACK"):
            raise
        from textok.runs.messages import explain

        print(
            f"textok {args[0]}: error: {explain(str(error))}\nRun textok {args[0]} --help for its options.",
            file=sys.stderr,
        )
        return 2
    except (ValueError, OSError, ImportError) as error:
        # A user's error is told in a line; TEXTOK_TRACEBACK=1 shows where it came from.
        if os.environ.get("TEXTOK_TRACEBACK"):
            raise
        from textok.runs.messages import cause

        print(f"textok {args[0]}: error: {cause(error)}", file=sys.stderr)
        return 1
    except Exception as error:
        from textok.callbacks.lost_process import lost_peer, lost_worker
        from textok.types import EXIT_LOST, RunEnded

        told, code = (str(error), error.exit_code) if isinstance(error, RunEnded) else (None, EXIT_LOST)
        told = told or lost_worker(error) or lost_peer(error)
        if told is None or (code == EXIT_LOST and os.environ.get("TEXTOK_TRACEBACK")):
            raise
        print(f"textok {args[0]}: {told}", file=sys.stderr)
        return code

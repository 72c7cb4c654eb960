"""``textok cache text`` and ``textok cache latents``: what stays the same in all epochs, computed once."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="textok cache",
        description="Compute once what every epoch would compute again. Killed and started again, each command goes "
        "on where it was; started by torchrun, each process takes its share.",
        exit_on_error=False,
    )
    kinds = parser.add_subparsers(dest="kind", metavar="text|latents")
    text = kinds.add_parser(
        "text",
        help="text tokens of all captions, for both stages",
        description="Encode every caption that the data's policy can choose. The data and the text encoder come from "
        "--run, or from the configurations that fit would get: textok cache text --output DIR -c FILE -c FILE …",
        exit_on_error=False,
    )
    text.add_argument("--run", type=Path, help="run folder whose data and text encoder are used")
    text.add_argument("--class_captions", type=Path, help="JSON of captions for sampling, put in as well")
    text.add_argument("--dtype", choices=("bfloat16", "float16"), default="bfloat16", help="of the stored tokens")
    text.add_argument("--batch_size", type=int, default=64, help="captions encoded at once (64)")
    latents = kinds.add_parser(
        "latents",
        help="latents of all images, for stage 2",
        description="Encode the data of a stage-1 run by its averaged weights.",
        exit_on_error=False,
    )
    latents.add_argument("run", type=Path, help="run folder of stage 1")
    latents.add_argument("--checkpoint", type=Path, help="a checkpoint of the run; the newest by default")
    latents.add_argument("--no_flip", dest="flip", action="store_false", help="leave the mirror images out")
    latents.add_argument("--captions_per_image", type=int, default=1, help="of those that the policy can choose (1)")
    latents.add_argument("--dtype", choices=("float16", "float32"), default="float16", help="of the stored latents")
    latents.add_argument("--batch_size", type=int, default=64, help="images encoded at once (64)")
    for kind in (text, latents):
        kind.add_argument("--output", type=Path, required=True, help="folder of the cache")
        kind.add_argument("--shard_size", type=int, default=16_384, help="entries of a shard (16384)")
        kind.add_argument("--device", help="where to compute; the accelerator by default, if there is one")
    return parser


def main(args: list[str]) -> None:
    """Write one of the caches.

    Args:
        args: Command line, beginning with the sub-command's own name.
    """
    parser = build_parser()
    options, rest = parser.parse_known_args(args[1:])
    if options.kind is None:
        raise argparse.ArgumentError(None, "say which cache: text or latents")
    if rest and (options.kind != "text" or options.run is not None):
        raise argparse.ArgumentError(None, f"unrecognized arguments: {' '.join(rest)}")

    from rich.console import Console

    from textok.runs.processes import chosen_device, is_first

    device = chosen_device(options.device)
    console = Console(quiet=not is_first())
    if options.kind == "text":
        write_text(options, rest, device, console)
    else:
        write_latents(options, device, console)


def write_text(options: argparse.Namespace, rest: list[str], device, console: Console) -> None:
    from textok.runs.load import parsed_run
    from textok.runs.parser import TextokCLI
    from textok.runs.processes import process_group
    from textok.runs.text_cache import TextCacheOptions, write_text_cache

    if options.run is None and not rest:
        raise ValueError("say which data and text encoder: --run FOLDER, or -c FILE … as for fit")
    cli = TextokCLI(rest, run=False) if options.run is None else parsed_run(options.run)
    encoder = cli.build_text_encoder()
    if encoder is None:
        raise ValueError("model.init_args.text_encoder is null: there are no text tokens to cache")
    data = cli.build_data()
    data.text_cache_folder = None  # the one that is about to be written, perhaps
    data.setup()
    encoder.load(device)
    choices = TextCacheOptions(options.dtype, options.shard_size, options.batch_size)
    with process_group(device):
        write_text_cache(options.output, data, encoder, choices, options.class_captions, console)


def write_latents(options: argparse.Namespace, device, console: Console) -> None:
    from textok.modules import TokenizerModule
    from textok.modules.weights import find_checkpoint
    from textok.runs.latent_cache import LatentCacheOptions, write_latent_cache
    from textok.runs.load import load_data, load_run
    from textok.runs.processes import process_group

    choices = LatentCacheOptions(
        options.flip, options.captions_per_image, options.dtype, options.shard_size, options.batch_size
    )
    checkpoint = find_checkpoint(options.checkpoint or options.run)
    module = load_run(options.run, checkpoint=checkpoint, device=device)
    if not isinstance(module, TokenizerModule):
        raise ValueError(f"{options.run} is a run of stage 2: give the run folder of stage 1")
    data = load_data(options.run)
    data.setup()
    with process_group(device):
        write_latent_cache(options.output, module, data, checkpoint.name, choices, console)

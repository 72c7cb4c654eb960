"""Make every kind of bad file, let the datamodule read them, and write what happened into docs/data.md.

    python scripts/bad_pictures.py           # writes the table
    python scripts/bad_pictures.py --check   # tells whether the page has the table that would be written

What is converted is compared with what it should look like; what is bad is told in the words of bad_images.tsv.
"""

from __future__ import annotations

import argparse
import difflib
import io
import sys
import tarfile
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow
import pyarrow.parquet
import torch
from PIL import Image
from torch import Tensor

from textok.datamodules import (
    BadData,
    CaptionDataModule,
    FolderSource,
    ManifestSource,
    NoCaption,
    ParquetSource,
    TarSource,
)
from textok.datamodules.sources import Source

PAGE = Path(__file__).parents[1] / "docs" / "data.md"
HEAD = "| on the disk | what happens | in bad_images.tsv, or the error |\n|---|---|---|\n"

# A red and a blue half: a wrong turn, a wrong frame and exchanged channels show.
PIXELS = np.zeros((36, 48, 3), np.uint8)
PIXELS[:, :24], PIXELS[:, 24:] = (200, 40, 30), (30, 40, 200)
PHOTO = Image.fromarray(PIXELS)


class Case(NamedTuple):
    """Something on the disk.

    Args:
        what: What it is.
        name: Its key, or the name that the log has for it.
        happens: What shall happen.
        expected: (H, W, 3) what it shall be read as; None where it shall be bad.
    """

    what: str
    name: str
    happens: str
    expected: np.ndarray | None = None


def encoded(image: Image.Image, form: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def pictures(folder: Path) -> list[Case]:
    """Single files with a caption each."""
    deep = np.arange(36 * 48, dtype=np.uint16).reshape(36, 48) * 37
    turned = Image.Exif()
    turned[0x0112] = 6  # the camera was turned: show it rotated by 90° clockwise
    clear = np.dstack([PIXELS, np.where(np.arange(48) < 24, 255, 0).astype(np.uint8)[None].repeat(36, 0)])
    white = PIXELS.copy()
    white[:, 24:] = 255
    grey = np.asarray(PHOTO.convert("L"))[..., None].repeat(3, 2)
    deep_read = (deep / 257).round().astype(np.uint8)[..., None].repeat(3, 2)
    rotated = np.rot90(PIXELS, -1)
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    jpeg = encoded(Image.fromarray(noise), "JPEG")
    frames = {"save_all": True, "append_images": [PHOTO.transpose(Image.Transpose.FLIP_LEFT_RIGHT)]}
    dot = np.full((1, 1, 3), 90, np.uint8)
    files: list[tuple[str, str, bytes, str, np.ndarray | None]] = [
        ("grey", "grey.jpg", encoded(PHOTO.convert("L"), "JPEG"), "converted to RGB", grey),
        ("palette", "palette.gif", encoded(PHOTO.quantize(256), "GIF"), "converted to RGB", PIXELS),
        ("CMYK", "cmyk.jpg", encoded(PHOTO.convert("CMYK"), "JPEG"), "converted to RGB", PIXELS),
        ("16 bits", "deep.png", encoded(Image.fromarray(deep), "PNG"), "the upper 8 are kept, rounded", deep_read),
        ("alpha", "alpha.png", encoded(Image.fromarray(clear), "PNG"), "laid on white", white),
        ("EXIF orientation", "turned.jpg", encoded(PHOTO, "JPEG", exif=turned), "turned upright [1]", rotated),
        ("animation", "moving.gif", encoded(PHOTO, "GIF", **frames), "the first frame", PIXELS),
        ("1 x 1", "dot.png", encoded(Image.fromarray(dot), "PNG"), "enlarged", dot),
        ("decompression bomb", "bomb.png", encoded(Image.new("1", (12_000, 9_000)), "PNG"), "bad, not decoded", None),
        ("zero bytes", "empty.jpg", b"", "bad", None),
        ("truncated JPEG", "cut.jpg", jpeg[: len(jpeg) // 2], "bad", None),
        ("not a picture", "page.jpg", b"<html>not found</html>", "bad", None),
        ("floating-point pixels", "float.tif", encoded(Image.fromarray(np.zeros((4, 4), "f4")), "TIFF"), "bad", None),
    ]
    folder.mkdir(parents=True)
    for _, name, data, _, _ in files:
        (folder / name).write_bytes(data)
        (folder / name).with_suffix(".txt").write_text("a caption")
    (folder / "latin.png").write_bytes(encoded(PHOTO, "PNG"))
    (folder / "latin.txt").write_bytes("Käse".encode("latin-1"))
    cases = [Case(what, f"files/{name}", happens, expected) for what, name, _, happens, expected in files]
    return [*cases, Case("caption in a wrong encoding", "files/latin.png", "bad")]


def others(folder: Path) -> tuple[list[Source], list[Case]]:
    """What can be wrong with a manifest, a tar, a Parquet file and two sources of one name."""
    folder.mkdir()
    (folder / "good.png").write_bytes(encoded(PHOTO, "PNG"))
    rows = ['{"image": "good.png", "caption": "good"}', '{"image": "lost.png", "caption": "lost"}', "{broken"]
    rows += ['{"image": "../up.png", "caption": "up"}', '{"image": "/etc/abs.png", "caption": "absolute"}']
    (folder / "list.jsonl").write_text("\n".join(rows))
    members = ["../up.png", "/abs.png", "one.png", "one.png", "two.png"]
    write_tar(folder / "set.tar", members)
    column = pyarrow.array([{"bytes": None, "path": "none.png"}, {"bytes": encoded(PHOTO, "PNG"), "path": "a.png"}])
    table = pyarrow.table({"image": column, "caption": ["none", "good"]})
    pyarrow.parquet.write_table(table, folder / "set.parquet")
    for name in ("first", "second"):
        (folder / name).mkdir()
        (folder / name / "same.png").write_bytes(encoded(PHOTO, "PNG"))
        (folder / name / "same.txt").write_text(name)
    sources = [
        ManifestSource(folder / "list.jsonl", name="list"),
        TarSource(str(folder / "set.tar"), name="tar"),
        ParquetSource(folder, name="parquet"),
        FolderSource(folder / "first", name="twice"),
        FolderSource(folder / "second", name="twice"),
    ]
    cases = [
        Case("missing file", "list/lost.png", "bad"),
        Case("manifest line that is not JSON", "list/list.jsonl, line 3", "bad"),
        Case("path with `../`", "list/list.jsonl, line 4", "bad, never opened"),
        Case("absolute path", "list/list.jsonl, line 5", "bad, never opened"),
        Case("tar member with `../`", "tar/set.tar/../up.png", "bad, never opened"),
        Case("tar member with an absolute name", "tar/set.tar//abs.png", "bad, never opened"),
        Case("tar member that is there twice", "tar/set.tar/one.png", "the first is kept, the second bad"),
        Case("key that is there twice", "twice/same.png", "the first is kept, the second bad"),
        Case("Parquet cell without bytes", "parquet/set/0-0/none.png", "bad"),
    ]
    return sources, cases


def write_tar(path: Path, names: list[str], mode: str = "w") -> None:
    with tarfile.open(path, mode) as tar:
        for name in names:
            data = encoded(PHOTO, "PNG")
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))


def stops(folder: Path) -> list[tuple[str, Callable[[], object]]]:
    """What ends a run at its start: what it is, and what reads it."""
    folder.mkdir()
    write_tar(folder / "cut.tar", ["one.png", "two.png"])
    (folder / "cut.tar").write_bytes((folder / "cut.tar").read_bytes()[:1200])
    write_tar(folder / "packed.tar", ["one.png"], "w:gz")
    (folder / "set.parquet").write_bytes(b"PAR1 and no more")
    (folder / "bare").mkdir()
    for name in ("a.png", "b.png"):
        (folder / "bare" / name).write_bytes(encoded(PHOTO, "PNG"))
    return [
        ("tar that was cut", lambda: datamodule([TarSource(str(folder / "cut.tar"))])),
        ("tar that is compressed", lambda: datamodule([TarSource(str(folder / "packed.tar"))])),
        ("Parquet that cannot be read", lambda: datamodule([ParquetSource(folder)])),
        ("no caption, where `missing` does not say what then", lambda: datamodule([FolderSource(folder / "bare")])),
    ]


def datamodule(sources: list[Source], log: Path | None = None) -> CaptionDataModule:
    # Tars and manifests here have no captions of every picture; a folder alone must have them.
    missing = None if isinstance(sources[0], FolderSource) and len(sources) == 1 else NoCaption()
    limit = BadData(max_share=0.9, log=log)
    data = CaptionDataModule(
        sources, 16, held_out=sources, missing=missing, batch_size=1, num_workers=0, bad_data=limit
    )
    data.setup()
    return data


def outcome(case: Case, data: CaptionDataModule, bad: dict[str, str]) -> str:
    """The row of a case, after everything was read.

    Raises:
        AssertionError: If it was read as something else, or was to be bad and is not.
    """
    if case.expected is None:
        assert case.name in bad, f"{case.what}: {case.name} is not among the bad ones, which are {sorted(bad)}"
        return f"| {case.what} | {case.happens} | {bad[case.name]} |\n"
    assert case.name not in bad, f"{case.what}: {case.name} is bad: {bad[case.name]}"
    images = data.splits.held_out
    index = [images.key(i) for i in range(len(images))].index(case.name)
    for read in (images.image(index), images.training_image(index, len(PIXELS))):
        wrong = difference(read, case.expected)
        assert wrong < 8, f"{case.what}: {case.name} is read as another picture, {wrong} grey levels away"
    return f"| {case.what} | {case.happens} | |\n"


def difference(read: Tensor, expected: np.ndarray) -> float:
    """Mean difference in grey levels; endless for another size."""
    wanted = torch.from_numpy(expected.copy()).permute(2, 0, 1)
    return (read.float() - wanted.float()).abs().mean().item() if read.shape == wanted.shape else float("inf")


def table(folder: Path) -> str:
    """The table, after every file was made below a folder and read for evaluation and for training."""
    cases = pictures(folder / "files")
    sources, more = others(folder / "others")
    log = folder / "bad_images.tsv"
    data = datamodule([FolderSource(folder / "files", name="files"), *sources], log)
    valid = [key for batch in data.val_dataloader() for key, counts in zip(batch.key, batch.valid) if counts]
    trained = {key for batch in data.train_dataloader() for key in batch.key}
    ledgers = data.ledgers["held_out"], data.ledgers["train"]
    assert ledgers[0].bad == ledgers[1].bad, "evaluation and training do not agree on what is bad"
    assert trained == set(valid), "evaluation and training do not agree on what can be read"
    listed, bad = ledgers[0].listed, ledgers[0].bad
    assert len(valid) + len(bad) == listed, f"{len(valid)} read + {len(bad)} bad are not the {listed} listed"
    assert log.read_text(encoding="utf-8").count("\n") == 2 * len(bad)
    told = {case.name for case in (*cases, *more) if case.expected is None}
    assert told == set(bad), f"the table has no row for {set(bad) - told}"
    rows = [outcome(case, data, bad) for case in (*cases, *more)]
    for what, read in stops(folder / "stops"):
        try:
            read()
        except (ValueError, OSError) as error:
            rows.append(f"| {what} | the run stops | {error} |\n")
        else:
            raise AssertionError(f"{what}: the run did not stop")
    notes = f"\nOf these {listed} pictures {len(valid)} are read and {len(bad)} bad. "
    notes += "[1] Ignored with `decoder.upright: false`, as in ImageNet.\n"
    return (HEAD + "".join(rows) + notes).replace(f"{folder}/", "")


def main(check: bool) -> int:
    page = PAGE.read_text(encoding="utf-8")
    before, head, rest = page.partition(HEAD)
    if not head:
        raise ValueError(f"{PAGE} has no table that begins with {HEAD!r}")
    after = rest[rest.index("false`, as in ImageNet.\n") + len("false`, as in ImageNet.\n") :]
    warnings.filterwarnings("ignore")
    with tempfile.TemporaryDirectory() as folder:
        written = before + table(Path(folder)) + after
    if not check:
        PAGE.write_text(written, encoding="utf-8")
        return 0
    sys.stdout.writelines(difflib.unified_diff(page.splitlines(True), written.splitlines(True), str(PAGE), "now"))
    print(f"{PAGE.name}: the table is {'as it should be' if page == written else 'not what happens'}")
    return int(page != written)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 where the page differs")
    sys.exit(main(parser.parse_args().check))

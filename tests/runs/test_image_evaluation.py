"""``textok evaluate`` on images as they lie on disk."""

import io
import json
import os
import subprocess
import sys
import tarfile

import numpy as np
import pytest
import torch
from PIL import Image

from textok.cli import main
from textok.metrics import PSNR, write_adm

LITE0 = ["--extractor", "textok.metrics.Lite0FeatureExtractor", "--extractor.image_size", "32"]
PAIRS = ["--metrics", "[]", "--pairs", "[PSNR, SSIM]"]


@pytest.fixture(scope="module")
def sides():
    """Two sets of 9 pictures, the second the first with noise."""
    generator = torch.Generator().manual_seed(0)
    small = torch.rand(9, 3, 4, 4, generator=generator)
    real = torch.nn.functional.interpolate(small, size=(24, 24), mode="bilinear") * 255
    noisy = real + 20 * torch.randn(real.shape, generator=generator)
    return [images.round().clamp(0, 255).to(torch.uint8) for images in (noisy, real)]


def write_folder(images, folder):
    for number, image in enumerate(images):
        path = folder / ("ab"[number % 2]) / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image.permute(1, 2, 0).numpy()).save(path)
    return folder


def write_tar(folder, path):
    with tarfile.open(path, "w") as archive:
        for file in sorted(folder.rglob("*.png"), reverse=True):
            archive.add(file, file.relative_to(folder))
    return path


@pytest.fixture(scope="module")
def files(tmp_path_factory, sides):
    folder = tmp_path_factory.mktemp("images")
    for name, images in zip(("made", "real"), sides):
        write_folder(images, folder / name)
        write_tar(folder / name, folder / f"{name}.tar")
        # In the order of the folders' names, so that all three hold the same pairs.
        order = sorted(range(9), key=lambda number: f"{'ab'[number % 2]}/{number}")
        write_adm(folder / f"{name}.npz", [images[order]], 9)
    return folder


def evaluate(files, tmp_path, made, real, *options):
    command = ["evaluate", str(files / made), "--output", str(tmp_path / "metrics.json")]
    command += ["--reference", str(files / real)] if real else []
    assert main([*command, "--cache", str(tmp_path / "cache"), *options]) == 0
    return json.loads((tmp_path / "metrics.json").read_text())


@pytest.mark.parametrize(("made", "real"), [("made", "real"), ("made.tar", "real"), ("made.npz", "real.tar")])
def test_pairs_by_name_and_by_order(files, tmp_path, sides, made, real):
    record = evaluate(files, tmp_path, made, real, *PAIRS, "--batch_size", "4")
    metric = PSNR()
    metric.update(*sides)
    assert record["metrics"]["psnr"] == pytest.approx(metric.compute()["psnr"], rel=1e-9)
    assert record["conventions"]["pairs"]["matched_by"] == ("order" if made.endswith("npz") else "name")
    assert record["conventions"]["num_images"] == 9


def test_distances_are_the_same_from_folder_tar_and_npz_and_at_any_batch_size(files, tmp_path, capsys):
    found = [
        evaluate(files, tmp_path, f"made{ending}", f"real{ending}", *LITE0, "--batch_size", size)
        for ending, size in (("", "4"), (".tar", "9"), (".npz", "2"))
    ]
    for record in found[1:]:
        assert record["metrics"] == pytest.approx(found[0]["metrics"], rel=1e-4)
    assert next(iter(found[0]["metrics"])) == "ked" and found[0]["metrics"]["fed_floor"] > 0
    assert "singular covariance" in found[0]["warnings"][0]
    told = found[0]["conventions"]
    assert told["reference"]["images"] == "real" and len(told["reference"]["sha256"]) == 64
    assert "every convention" in capsys.readouterr().out
    # The reference was kept under its contents, and can be named itself.
    kept = [path for path in (tmp_path / "cache").glob("*.json")]
    assert len(kept) == 2  # of the folder and of the tar; an npz is read as it is
    again = evaluate(files, tmp_path, "made", kept[0], *LITE0)
    assert again["metrics"] == pytest.approx(found[0]["metrics"], rel=1e-4)


def test_two_processes_measure_what_one_does(files, tmp_path):
    options = [*LITE0, "--pairs", "[PSNR]", "--batch_size", "2"]
    expected = evaluate(files, tmp_path, "made", "real", *options)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    command += ["-m", "textok", "evaluate", str(files / "made"), "--reference", str(files / "real"), *options]
    command += ["--cache", str(tmp_path / "new"), "--output", str(tmp_path / "two.json")]
    finished = subprocess.run(
        command, capture_output=True, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"}, timeout=120
    )
    assert finished.returncode == 0, finished.stderr
    assert json.loads((tmp_path / "two.json").read_text())["metrics"] == pytest.approx(expected["metrics"], rel=1e-4)
    assert finished.stdout.count("every convention") == 1


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("captions.txt", "\n".join(f"picture {number}" for number in range(9))),
        ("captions.jsonl", "\n".join(f'{{"name": "{"ab"[n % 2]}/{n}.png", "caption": "p {n}"}}' for n in range(9))),
        ("captions.tsv", "name\tcaption\n" + "\n".join(f"{'ab'[n % 2]}/{n}.png\tp {n}" for n in range(9))),
        ("captions.csv", "name,caption\n" + "\n".join(f'{"ab"[n % 2]}/{n}.png,"p, {n}"' for n in range(9))),
    ],
)
def test_captions_are_read_by_line_and_by_name(files, tmp_path, name, text):
    from textok.runs.image_captions import read_captions
    from textok.runs.image_files import open_images

    (tmp_path / name).write_text(text)
    images = open_images(files / "made.tar")
    captions = read_captions(tmp_path / name, images.names, len(images))
    numbers = [0, 2, 4, 6, 8, 1, 3, 5, 7] if name != "captions.txt" else range(9)
    assert [int(caption.split()[-1]) for caption in captions] == list(numbers)


def broken_png(folder):
    file = folder / "a" / "2.png"
    file.write_bytes(file.read_bytes()[:60])
    return file


def other_size(folder):
    Image.new("RGB", (10, 24)).save(folder / "a" / "4.png")


def deep(folder):
    Image.fromarray(np.full((24, 24), 40_000, np.uint16)).save(folder / "a" / "4.png")


def fewer(folder):
    (folder / "b" / "7.png").unlink()


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (broken_png, "a/2.png cannot be read as an image"),
        (other_size, "a/4.png is 24x10, images before it are 24x24"),
        (deep, "a/4.png has more than 8 bits a channel"),
        (fewer, "b/7 has no counterpart in"),
    ],
)
def test_bad_images_are_one_clear_error_and_no_number(files, tmp_path, sides, capsys, damage, message):
    folder = write_folder(sides[0], tmp_path / "made")
    damage(folder)
    output = tmp_path / "metrics.json"
    assert main(["evaluate", str(folder), "--reference", str(files / "real"), *PAIRS, "--output", str(output)]) == 1
    error = capsys.readouterr().err
    assert message in error and "Traceback" not in error
    assert not output.exists()


def damaged_npz(folder, files):
    data = bytearray((files / "real.npz").read_bytes())
    data[len(data) // 2] ^= 255
    (folder / "bad.npz").write_bytes(data)
    return [str(files / "made"), "--reference", str(folder / "bad.npz"), *LITE0]


def nothing_to_compare(folder, files):
    return [str(files / "made"), *LITE0]


def no_captions(folder, files):
    (folder / "captions.txt").write_text("one\ntwo\n")
    clip = ["--clip_score", "CLIPScore", "--caption_file", str(folder / "captions.txt")]
    return [str(files / "made"), "--metrics", "[]", *clip]


def compressed(folder, files):
    with tarfile.open(folder / "made.tar", "w:gz") as archive:
        member = tarfile.TarInfo("a.png")
        archive.addfile(member, io.BytesIO())
    return [str(folder / "made.tar"), "--reference", str(files / "real"), *PAIRS]


def cut_tar(folder, files):
    whole = (files / "made.tar").read_bytes()
    (folder / "cut.tar").write_bytes(whole[: len(whole) // 2 // 512 * 512 + 100])
    return [str(folder / "cut.tar"), "--reference", str(files / "real"), *PAIRS]


def sizes_differ(folder, files):
    write_adm(folder / "small.npz", [torch.zeros(9, 3, 8, 8, dtype=torch.uint8)], 9)
    return [str(folder / "small.npz"), "--reference", str(files / "real.npz"), *PAIRS]


def counts_differ(folder, files):
    write_adm(folder / "few.npz", [torch.zeros(4, 3, 24, 24, dtype=torch.uint8)], 4)
    return [str(folder / "few.npz"), "--reference", str(files / "real.npz"), *PAIRS]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (damaged_npz, "bad.npz is damaged"),
        (nothing_to_compare, "there is nothing to measure"),
        (no_captions, "captions.txt has 2 lines for 9 images"),
        (compressed, "is not an uncompressed tar"),
        (cut_tar, "is not an uncompressed tar or is damaged"),
        (sizes_differ, "has images of 8x8"),
        (counts_differ, "holds 4 images"),
    ],
)
def test_bad_input_is_one_clear_error(files, tmp_path, capsys, make, message):
    assert main(["evaluate", *make(tmp_path, files), "--output", str(tmp_path / "metrics.json")]) == 1
    error = capsys.readouterr().err
    assert message in error and "Traceback" not in error
    assert not (tmp_path / "metrics.json").exists()

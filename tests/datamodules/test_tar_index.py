"""Tars are scanned once, by one process; an index of another state of the tar or a damaged one is not used."""

import io
import multiprocessing
import os
import tarfile
import time

import pytest
from PIL import Image

from textok.datamodules import TarSource
from textok.datamodules.source_images import list_sources
from textok.datamodules.tar_index import BESIDE

SHARDS = 6


def write(path, captions):
    picture = io.BytesIO()
    Image.new("RGB", (8, 8)).save(picture, "JPEG")
    with tarfile.open(path, "w") as tar:
        for number, caption in enumerate(captions):
            for name, data in ((f"{number:03d}.jpg", picture.getvalue()), (f"{number:03d}.txt", caption.encode())):
                member = tarfile.TarInfo(name)
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))
        tar.addfile(tarfile.TarInfo("../evil.jpg"))


@pytest.fixture
def folder(tmp_path):
    for shard in range(SHARDS):
        write(tmp_path / f"{shard:04d}.tar", [f"picture {shard} {number}" for number in range(5)])
    return tmp_path


@pytest.fixture
def scanned(monkeypatch):
    """The names of the tars that are opened to be scanned."""
    opened, real = [], tarfile.open
    monkeypatch.setattr(tarfile, "open", lambda path, *args, **kw: opened.append(path.name) or real(path, *args, **kw))
    return opened


def listed(folder, **options):
    listing = list_sources([TarSource(str(folder / "*.tar"), **options)])
    return [(row, row.blob.read()) for row in listing.rows], listing.skipped


def test_a_second_start_opens_no_tar_and_lists_the_same(folder, scanned):
    first = listed(folder)
    assert len(first[0]) == 5 * SHARDS and len(first[1]) == SHARDS and len(scanned) == SHARDS
    assert listed(folder) == first and len(scanned) == SHARDS
    assert not list((folder / BESIDE).glob("*.lock"))
    assert listed(folder, caption_field="text") == first and len(scanned) == 2 * SHARDS


def test_a_tar_that_changed_is_scanned_again_and_only_it(folder, scanned):
    listed(folder)
    write(folder / "0002.tar", ["a new one"])
    scanned.clear()
    rows, _ = listed(folder)
    assert scanned == ["0002.tar"] and len(rows) == 5 * (SHARDS - 1) + 1
    assert ("a new one",) in [row.captions for row, _ in rows]
    state = (folder / "0003.tar").stat()
    os.utime(folder / "0003.tar", ns=(state.st_atime_ns, state.st_mtime_ns + 10**9))  # the same length, later
    listed(folder)
    assert scanned == ["0002.tar", "0003.tar"]


@pytest.mark.parametrize("damage", [lambda data: data[:-9], lambda data: data.replace(b"picture 1 3", b"picture 1 4")])
def test_a_damaged_index_is_named_and_made_again(folder, scanned, damage):
    first = listed(folder)
    scanned.clear()
    (index,) = (folder / BESIDE).glob("0001.tar.*.json")
    whole = index.read_bytes()
    index.write_bytes(damage(whole))
    with pytest.warns(UserWarning, match=rf"the index {index} is damaged .*: {folder}/0001\.tar is scanned again"):
        assert listed(folder) == first
    assert scanned == ["0001.tar"] and index.read_bytes() == whole


def test_where_nothing_can_be_written_beside_the_tars_the_index_lies_elsewhere(folder, scanned, tmp_path, monkeypatch):
    # Root may write anywhere: the question is answered for it.
    monkeypatch.setattr(os, "access", lambda path, mode: not str(path).startswith(str(folder)))
    monkeypatch.setattr("textok.datamodules.tar_index.ELSEWHERE", tmp_path / "elsewhere")
    first = listed(folder)
    assert not (folder / BESIDE).exists() and len(list((tmp_path / "elsewhere").rglob("*.json"))) == SHARDS
    assert listed(folder) == first and len(scanned) == SHARDS
    # Nowhere at all: every start scans.
    (tmp_path / "file").touch()
    monkeypatch.setattr("textok.datamodules.tar_index.ELSEWHERE", tmp_path / "file")
    assert listed(folder) == first and len(scanned) == 2 * SHARDS


def one_of_three(folder, ready, results):
    opened, real = [], tarfile.open

    def slowly(path, *args, **kwargs):
        opened.append(path.name)
        time.sleep(0.1)
        return real(path, *args, **kwargs)

    tarfile.open = slowly
    ready.wait()
    results.put((opened, [row.key for row, _ in listed(folder)[0]]))


def test_processes_share_the_scan_and_each_lists_everything(folder):
    context = multiprocessing.get_context("fork")
    results, ready = context.Queue(), context.Barrier(3)
    processes = [context.Process(target=one_of_three, args=(folder, ready, results)) for _ in range(3)]
    for process in processes:
        process.start()
    found = [results.get(timeout=60) for _ in processes]
    for process in processes:
        process.join(timeout=60)
    assert sorted(name for opened, _ in found for name in opened) == [f"{shard:04d}.tar" for shard in range(SHARDS)]
    assert sum(bool(opened) for opened, _ in found) >= 2
    keys = [row.key for row, _ in listed(folder)[0]]
    assert all(theirs == keys for _, theirs in found)


def test_an_index_names_no_place_so_that_a_folder_may_be_moved(folder, tmp_path, scanned):
    first = listed(folder)
    (index, *_) = (folder / BESIDE).glob("*.json")
    assert str(folder) not in index.read_text()
    moved = tmp_path / "moved"
    moved.mkdir()
    for path in [*folder.glob("*.tar"), folder / BESIDE]:
        path.rename(moved / path.name)
    rows, skipped = listed(moved)
    assert len(scanned) == SHARDS and skipped == first[1]
    assert [(row.key, data) for row, data in rows] == [(row.key, data) for row, data in first[0]]

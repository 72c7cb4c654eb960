"""A cache is written by any number of processes over any number of starts, and the bytes are the same."""

import json

import pytest
import torch

from textok.storage import Manifest, ShardWriter, map_tensors

COUNT, SIZE = 10, 3  # four shards, the last of one entry


def write(folder, rank=0, world=1, only=None, identity=None):
    writer = ShardWriter(folder, "test", identity or {"of": "numbers"}, COUNT, SIZE, rank, world)
    for shard in writer.pending()[:only]:
        numbers = torch.tensor(list(writer.entries(shard)))
        writer.write(shard, {"numbers": numbers}, note=int(numbers.sum()))
    return writer


def finish(folder, **kwargs):
    writer = write(folder, **kwargs)
    if not writer.is_finished:
        writer.finish(details={"sum": sum(writer.notes())})


@pytest.fixture(scope="module")
def whole(tmp_path_factory, contents):
    folder = tmp_path_factory.mktemp("whole") / "cache"
    finish(folder)
    return contents(folder)


def test_a_finished_cache_has_every_entry_once(tmp_path):
    finish(tmp_path / "cache")
    manifest = Manifest.read(tmp_path / "cache", "test")
    manifest.check_files(tmp_path / "cache", checksums=True)
    entries = [map_tensors(tmp_path / "cache" / s.file)[0]["numbers"].tolist() for s in manifest.shards]
    assert entries == [[0, 1, 2], [3, 4, 5], [6, 7, 8], [9]]
    assert [s.entries for s in manifest.shards] == [3, 3, 3, 1] and manifest.details == {"sum": 45}


def test_killed_at_any_point_and_started_again_it_has_the_same_bytes(tmp_path, killed, contents, whole):
    point = 0
    while True:
        point += 1
        folder = tmp_path / str(point)
        if not killed(point, lambda folder=folder: finish(folder)):
            break
        finish(folder)
        assert contents(folder) == whole, point
    assert point > 4 * 4  # each shard: its flush, its rename, its folder's flush, its journal's flush


def test_killed_again_and_again_it_ends(tmp_path, killed, contents, whole):
    starts = 0
    while killed(7, lambda: finish(tmp_path / "cache")):
        starts += 1
    assert starts > 1 and contents(tmp_path / "cache") == whole


@pytest.mark.parametrize("world", [2, 3, 5])
def test_ranks_share_the_shards_and_may_change_their_number(tmp_path, contents, whole, world):
    for rank in range(world):
        write(tmp_path / "cache", rank, world, only=1)
    assert len(list((tmp_path / "cache").glob("shard-*"))) == min(world, 4)
    finish(tmp_path / "cache")
    assert contents(tmp_path / "cache") == whole


def test_a_shard_that_was_entered_and_lost_or_cut_is_written_anew(tmp_path, contents, whole):
    write(tmp_path / "cache", only=3)
    (tmp_path / "cache" / "shard-00000.safetensors").unlink()
    (tmp_path / "cache" / "shard-00001.safetensors").write_bytes(b"half")
    finish(tmp_path / "cache")
    assert contents(tmp_path / "cache") == whole


def test_another_cache_is_refused_side_by_side(tmp_path):
    write(tmp_path / "cache", identity={"of": "numbers", "policy": {"words": 25}})
    with pytest.raises(ValueError, match=r"identity\.policy\.words: the cache has 25, here it is 75"):
        write(tmp_path / "cache", identity={"of": "numbers", "policy": {"words": 75}})
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.txt").touch()
    with pytest.raises(ValueError, match=r"is not empty and holds no plan\.json"):
        write(tmp_path / "other")


def test_a_damaged_shard_is_named(tmp_path):
    folder = tmp_path / "cache"
    finish(folder)
    manifest = Manifest.read(folder, "test")
    file = folder / "shard-00002.safetensors"
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    manifest.check_files(folder)
    with pytest.raises(ValueError, match=r"shard-00002\.safetensors is damaged: its checksum"):
        manifest.check_files(folder, checksums=True)
    file.write_bytes(data[:-1])
    with pytest.raises(ValueError, match=r"shard-00002\.safetensors is damaged: it has"):
        manifest.check_files(folder)
    file.unlink()
    with pytest.raises(ValueError, match=r"shard-00002\.safetensors is missing"):
        manifest.check_files(folder)
    file.write_bytes(b"no safetensors")
    with pytest.raises(ValueError, match=r"shard-00002\.safetensors is damaged"):
        map_tensors(file)


def test_a_manifest_of_another_kind_or_version_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="is no test cache"):
        Manifest.read(tmp_path, "test")
    write(tmp_path / "cache")
    with pytest.raises(FileNotFoundError, match="is not finished: start the same command again"):
        Manifest.read(tmp_path / "cache", "test")
    finish(tmp_path / "cache")
    with pytest.raises(ValueError, match="is a test cache, not a text cache"):
        Manifest.read(tmp_path / "cache", "text")
    file = tmp_path / "cache" / "manifest.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"format": 99}))
    with pytest.raises(ValueError, match="has format 99, this version of textok reads 1"):
        Manifest.read(tmp_path / "cache", "test")

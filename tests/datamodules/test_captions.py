"""Folders, manifests, COCO and tars, with the bad things that real ones hold."""

import csv
import io
import json
import sys
import tarfile

import pyarrow
import pyarrow.parquet
import pytest
import torch
from PIL import Image

from textok.datamodules import (
    Augmentation,
    BadData,
    CaptionDataModule,
    CocoSource,
    FolderSource,
    ManifestSource,
    NoCaption,
    ParquetSource,
    SkipImage,
    TarSource,
)
from textok.datamodules.order import apportioned, mixed, shuffled
from textok.datamodules.source_images import list_sources


def picture(number, form="JPEG"):
    file = io.BytesIO()
    Image.new("RGB", (24, 18), (number, 255 - number, 100)).save(file, form)
    return file.getvalue()


def fill(folder, count, first=0):
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(first, first + count):
        (folder / f"{number:03d}.jpg").write_bytes(picture(number))
        (folder / f"{number:03d}.txt").write_text(f"picture {number}\nde.utf8=Bild {number}\n", encoding="utf-8")
    return folder


def tar(path, members):
    with tarfile.open(path, "w") as file:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            file.addfile(info, io.BytesIO(data))
    return path


def data_of(*sources, **options):
    settings = dict(image_size=16, batch_size=4, num_workers=0, held_out_share=0.3)
    data = CaptionDataModule(list(sources), **(settings | options))
    data.setup()
    return data


def found(source):
    listing = list_sources([source])
    return {row.key: list(row.captions) for row in listing.rows}, listing.skipped


def test_a_folder_with_texts_and_a_held_out_part_that_growth_does_not_move(tmp_path):
    source = FolderSource(fill(tmp_path / "set", 30))
    data = data_of(source)
    held_out = {data.splits.held_out.key(i) for i in range(len(data.splits.held_out))}
    assert 2 < len(held_out) < 18 and len(data.splits.train) + len(held_out) == 30
    batch = next(iter(data.train_dataloader()))
    assert batch.image.shape == (4, 3, 16, 16)
    assert all(caption == f"picture {int(key[:3])}" for key, caption in zip(batch.key, batch.caption))
    assert all(abs(int(image[0, 8, 8]) - int(key[:3])) < 6 for key, image in zip(batch.key, batch.image))
    fill(tmp_path / "set", 10, first=30)
    grown = data_of(source).splits.held_out
    assert held_out == {k for k in map(grown.key, range(len(grown))) if int(k[:3]) < 30}


def test_texts_in_a_wrong_encoding_are_named_and_missing_ones_treated_as_configured(tmp_path):
    folder = fill(tmp_path / "set", 20)
    (folder / "003.txt").write_bytes("Käse".encode("latin-1"))
    (folder / "004.txt").write_bytes("\ufeffwith a mark".encode())
    (folder / "005.txt").unlink()
    captions, skipped = found(FolderSource(folder))
    assert captions["004.jpg"] == ["with a mark"] and captions["005.jpg"] == []
    assert list(skipped) == ["003.jpg"] and "not utf-8" in skipped["003.jpg"]
    assert len(captions) + len(skipped) == 20
    assert "005.jpg" not in found(FolderSource(folder, captioned_only=True))[0]
    with pytest.raises(ValueError, match=r"1 of \d+ (training|held-out) pictures have no caption.*'005.jpg'"):
        data_of(FolderSource(folder), bad_data=BadData(0.5))
    for missing, count in ((NoCaption(), 19), (SkipImage(), 18)):
        with pytest.warns(UserWarning, match="003.jpg is skipped"):
            splits = data_of(FolderSource(folder), missing=missing, bad_data=BadData(0.5)).splits
        assert len(splits.train) + len(splits.held_out) == count
        assert splits.train.num_bare + splits.held_out.num_bare == 1


def test_manifests_give_one_or_several_captions(tmp_path):
    fill(tmp_path / "pictures", 3)
    rows = [("000", ["one", "two"]), ("001", ["three"]), ("002", [])]
    lines = [json.dumps({"image": f"pictures/{name}.jpg", "caption": texts}) for name, texts in rows]
    (tmp_path / "a.jsonl").write_text("\n".join([*lines, "{broken", json.dumps({"image": "../x.jpg"})]))
    with (tmp_path / "a.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["image", "caption"])
        table.writerows((f"pictures/{name}.jpg", text) for name, texts in rows for text in texts or [""])
    (tmp_path / "p").mkdir()
    columns = {"image": [f"pictures/{name}.jpg" for name, _ in rows], "caption": [texts for _, texts in rows]}
    pyarrow.parquet.write_table(pyarrow.table(columns), tmp_path / "p" / "a.parquet")
    expected = {f"pictures/{name}.jpg": texts for name, texts in rows}
    captions, skipped = found(ManifestSource(tmp_path / "a.jsonl"))
    assert captions == expected
    assert "no JSON" in skipped["a.jsonl, line 4"] and "'../x.jpg'" in skipped["a.jsonl, line 5"]
    assert found(ManifestSource(tmp_path / "a.csv")) == (expected, {})
    assert found(ParquetSource(tmp_path / "p")) == (expected, {})
    with pytest.raises(ValueError, match=r"no column 'file', only \['caption', 'image'\]"):
        found(ManifestSource(tmp_path / "a.jsonl", image_column="file"))


def test_coco_gives_all_captions_of_a_picture(tmp_path):
    fill(tmp_path / "val", 2)
    notes = [{"image_id": i, "caption": c} for i, c in ((7, " A cat. "), (7, "Cats"), (8, "Dog"), (9, "lost"))]
    images = [{"id": 7, "file_name": "000.jpg"}, {"id": 8, "file_name": "001.jpg"}]
    (tmp_path / "a.json").write_text(json.dumps({"images": images, "annotations": notes}))
    captions, skipped = found(CocoSource(tmp_path / "a.json", tmp_path / "val"))
    assert captions == {"000.jpg": ["A cat.", "Cats"], "001.jpg": ["Dog"]} and list(skipped) == ["image 9"]


def test_tars_are_read_at_random_and_refuse_names_that_lead_out(tmp_path):
    members = [(f"{n:03d}.{s}", d) for n in range(6) for s, d in (("jpg", picture(n)), ("txt", f"t {n}".encode()))]
    tar(tmp_path / "0000.tar", [*members, ("../evil.jpg", picture(1)), ("/abs.jpg", picture(1)), ("no.txt", b"x")])
    info = json.dumps({"caption": "by json", "url": "…"}).encode()
    tar(
        tmp_path / "0001.tar",
        [("000.jpg", picture(9)), ("000.json", info), ("001.jpg", picture(8)), ("001.txt", b"\xe4")],
    )
    listing = list_sources([TarSource(str(tmp_path / "{0000..0001}.tar"))])
    assert [row.key for row in listing.rows] == [*(f"0000/{n:03d}" for n in range(6)), "0001/000"]
    assert listing.rows[-1].captions == ("by json",) and listing.rows[2].captions == ("t 2",)
    assert listing.rows[2].blob.read() == picture(2)
    assert set(listing.skipped) == {"0000.tar/../evil.jpg", "0000.tar//abs.jpg", "0000/no", "0001/001"}
    assert "leads out" in listing.skipped["0000.tar/../evil.jpg"] and "utf-8" in listing.skipped["0001/001"]
    for length in (1100, 1700, 2000):  # in the bytes of a picture, in its padding or a header
        (tmp_path / "cut.tar").write_bytes((tmp_path / "0000.tar").read_bytes()[:length])
        with pytest.raises(ValueError, match=r"cut\.tar is not a whole, uncompressed tar"):
            list_sources([TarSource(str(tmp_path / "cut.tar"))])


@pytest.mark.parametrize("num_workers", [0, 2])
def test_bad_pictures_are_replaced_in_training_left_out_in_evaluation_and_logged_once(tmp_path, num_workers):
    folder = fill(tmp_path / "set", 24)
    (folder / "004.jpg").write_bytes(b"")
    (folder / "009.jpg").write_bytes(picture(9)[:200])
    (folder / "017.jpg").unlink()
    (folder / "017.jpg").symlink_to(tmp_path / "nowhere.jpg")
    bad = BadData(max_share=0.2, log=tmp_path / "bad.tsv")
    source = FolderSource(folder)
    data = data_of(source, held_out=[source], bad_data=bad, num_workers=num_workers)
    train = data.train_dataloader()
    batches = [batch for _ in range(2) for batch in train]
    keys = [key for batch in batches for key in batch.key]
    assert len(keys) == 48 and not {"004.jpg", "009.jpg", "017.jpg"} & set(keys)
    assert {"005.jpg", "010.jpg", "018.jpg"} <= {key for key in keys if keys.count(key) == 4}
    assert all(batch.valid.all() for batch in batches)
    valid = {key: bool(v) for batch in data.val_dataloader() for key, v in zip(batch.key, batch.valid)}
    assert sorted(key for key, counts in valid.items() if not counts) == ["004.jpg", "009.jpg", "017.jpg"]
    lines = [line.split("\t") for line in (tmp_path / "bad.tsv").read_text().splitlines()]
    assert sorted(line[1] for line in lines if line[0] == "held-out") == ["004.jpg", "009.jpg", "017.jpg"]
    assert len(lines) == 6 and any("missing" in line[2] for line in lines)
    ledger = data.ledgers["held_out"]
    assert sum(valid.values()) + len(ledger.bad) == ledger.listed == 24
    assert str(ledger).startswith("held-out: 24 pictures listed, 3 of them bad so far")
    strict = data_of(source, held_out=[source], bad_data=BadData(0.1, tmp_path / "b.tsv"), num_workers=num_workers)
    with pytest.raises(ValueError, match=r"^held-out: 3 of 24 pictures are bad, more than max_share = 0.1"):
        list(strict.val_dataloader())
    with pytest.raises(ValueError, match=r"^training: 3 of 24 pictures are bad"):
        list(strict.train_dataloader())


def test_a_resumed_loader_goes_on_with_the_same_pictures(tmp_path):
    sources = [FolderSource(fill(tmp_path / name, 12), weight=w, name=name) for name, w in (("a", 3.0), ("b", 1.0))]
    whole = data_of(*sources, held_out=[sources[0]], augmentation=Augmentation(0.6)).train_dataloader()
    seen = [(batch.key, batch.image) for _ in range(3) for batch in whole]
    half = data_of(*sources, held_out=[sources[0]], augmentation=Augmentation(0.6)).train_dataloader()
    for _ in range(2):
        list(zip(range(4), half))
    state = half.state_dict()
    again = data_of(*sources, held_out=[sources[0]], augmentation=Augmentation(0.6)).train_dataloader()
    again.load_state_dict(state)
    position = state["epoch"] * 6 + state["consumed"] // 4
    for (keys, images), batch in zip(seen[position:], again):
        assert keys == batch.key and torch.equal(images, batch.image)
    first = [key for keys, _ in seen[:6] for key in keys]
    assert sum(key.startswith("a/") for key in first) == 18 and len(first) == 24


def test_keys_are_unique_and_sources_are_told_apart_by_name(tmp_path):
    one, two = fill(tmp_path / "one", 3), fill(tmp_path / "two", 4)
    listing = list_sources([FolderSource(one), FolderSource(two)])
    assert listing.counts == [3, 1] and list(listing.skipped) == ["000.jpg", "001.jpg", "002.jpg"]
    assert all("twice" in reason for reason in listing.skipped.values())
    assert not list_sources([FolderSource(one, name="one"), FolderSource(two, name="two")]).skipped
    with pytest.raises(ValueError, match="give all of them a weight, or none"):
        list_sources([FolderSource(one, weight=1.0), FolderSource(two)])


@pytest.mark.parametrize(
    ("library", "extra", "source"),
    [("webdataset", "webdataset", TarSource("a.tar")), ("pyarrow", "parquet", None)],
)
def test_a_missing_extra_is_named(tmp_path, monkeypatch, library, extra, source):
    (tmp_path / "a.parquet").touch()
    for name in [name for name in sys.modules if name.split(".")[0] == library]:
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(ImportError, match=rf"textok\[{extra}\]"):
        list_sources([source or ParquetSource(tmp_path)])


def test_orders_show_everything_once_and_keep_shards_together():
    generator = torch.Generator().manual_seed(0)
    shards = torch.arange(400) // 10
    order = shuffled(400, shards, generator)
    assert sorted(order.tolist()) == list(range(400)) and order.tolist() != sorted(order.tolist())
    assert len(set(shards[order[:80]].tolist())) == 8  # eight shards at a time
    plain = mixed([5, 7], None, [None, None], generator)
    assert sorted(plain.tolist()) == list(range(12))
    assert apportioned(10, [1.0, 1.0, 1.0]) == [4, 3, 3] and sum(apportioned(11, [0.2, 5.0])) == 11

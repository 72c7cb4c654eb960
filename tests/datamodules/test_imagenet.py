"""ImageNet's layouts on a small tree that ``scripts/make_imagenet_tree.py`` makes."""

import runpy
from pathlib import Path

import pytest

from textok.datamodules import FitSquare, ImageNetDataModule
from textok.datamodules.imagenet import synset_names
from textok.runs.parser import TextokCLI

ROOT = Path(__file__).parents[2]
LAYOUTS = ["folders", "flat", "official", "parquet", "tars"]


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    folder = tmp_path_factory.mktemp("imagenet")
    runpy.run_path(str(ROOT / "scripts" / "make_imagenet_tree.py"))["make"](folder, 120, 40)
    return folder


def data_of(root, **options):
    data = ImageNetDataModule(root, **(dict(image_size=32, num_classes=8, batch_size=20, num_workers=0) | options))
    data.setup()
    return data


@pytest.mark.parametrize("layout", LAYOUTS)
def test_all_layouts_give_the_same_pictures_and_labels(tree, layout):
    def content(data):
        batches = list(data.val_dataloader())
        return sorted(
            (int(label), image.long().sum().item())
            for batch in batches
            for label, image, valid in zip(batch.label, batch.image, batch.valid)
            if valid
        )

    data = data_of(tree / layout)
    assert len(data.splits.train) == 120 and content(data) == content(data_of(tree / "folders"))
    train = [data.splits.train.label(i) for i in range(120)]
    reference = data_of(tree / "folders").splits.train
    assert sorted(train) == sorted(reference.label(i) for i in range(120)) and set(train) == set(range(8))
    seen = [key for batch in data.train_dataloader() for key in batch.key]
    assert len(set(seen)) == 120
    if layout in ("folders", "flat", "official"):
        assert data.class_names[:3] == ["tench", "goldfish", "great white shark"]
        assert next(iter(data.val_dataloader())).caption[0].startswith("a photo of a ")


def test_the_thousand_classes_are_sorted_and_named():
    names = synset_names()
    assert len(names) == 1000 and list(names) == sorted(names)
    assert names["n01440764"] == "tench" and list(names)[-1] == "n15075141"
    assert len(set(names.values())) == 1000


def test_what_does_not_fit_is_told(tree, tmp_path):
    with pytest.raises(FileNotFoundError, match="does not look like ImageNet"):
        data_of(tmp_path)
    with pytest.raises(ValueError, match="num_classes is 7, but the data has 8"):
        data_of(tree / "folders", num_classes=7)
    with pytest.raises(FileNotFoundError, match=r"meta\.mat"):
        (tmp_path / "official").mkdir()
        for place in (tree / "official").iterdir():
            if place.name != "meta.mat":
                (tmp_path / "official" / place.name).symlink_to(place)
        data_of(tmp_path / "official")


@pytest.mark.slow
@pytest.mark.parametrize("layout", ["folders", "parquet", "tars"])
def test_both_stages_train_and_evaluate(tree, tmp_path, layout):
    def fit(stage, run, *more):
        entry = [f"quickstart/{stage}.yaml", "quickstart/pair.yaml", f"quickstart/{stage}_fast.yaml"]
        configs = ["base.yaml", *entry, "data/imagenet256.yaml"]
        options = {
            "run": run,
            "trainer.max_steps": 12,
            "trainer.val_check_interval": 12,
            "checkpoint.every_n_train_steps": 12,
            "data.init_args.root": tree / layout,
            "data.init_args.num_classes": 8,
            "data.init_args.image_size": 16,
            "data.init_args.batch_size": 8,
            "data.init_args.num_workers": 1,
        }
        args = ["fit", *(part for file in configs for part in ("--config", str(ROOT / "configs" / file)))]
        TextokCLI([*args, *(f"--{name}={value}" for name, value in options.items()), *more])
        assert list(run.rglob("*.ckpt")) and list(run.rglob("*.png"))

    fit("tokenizer", tmp_path / "one")
    fit("generator", tmp_path / "two", f"--model.init_args.tokenizer_checkpoint={tmp_path / 'one'}")


def test_the_evaluation_crop_is_part_of_the_identity(tree):
    data = data_of(tree / "folders")
    fitted = data_of(tree / "folders", crop=FitSquare())
    assert data.identity("held_out")["preprocessing"] != fitted.identity("held_out")["preprocessing"]
    assert "ADM" in data.preprocessing

"""Run folders as the callbacks leave them: small, real files."""

import json

import pytest
import torch
import yaml

from textok.callbacks import CurveLogger
from textok.callbacks.drawing import draw_grid

IMAGE_SIZE = 16
HOSTILE = "<script>alert(1)<b>&\"'$\\frac{$_"


def tile(*colour):
    return torch.tensor(colour, dtype=torch.uint8).view(3, 1, 1).expand(3, IMAGE_SIZE, IMAGE_SIZE)


@pytest.fixture
def make_run(tmp_path):
    """Makes a run folder: ``make_run("a", num_latents=32, text=(True, False), metrics={"val/psnr": 20.0})``."""

    def make(name, stage="tokenizer", num_latents=16, text=(True, True), metrics=None, data="ShapesDataModule", **more):
        folder = tmp_path / name
        folder.mkdir(parents=True)
        halves = [f"textok.models.{'InContext' if reads else 'NoText'}" for reads in text]
        pair = {
            "num_latents": num_latents,
            "tokenizer_conditioning": {"class_path": halves[0], "init_args": {}},
            "detokenizer_conditioning": halves[1],
        }
        model = {"textok": {"class_path": "textok.TexTok", "init_args": pair}}
        model |= {"dit": {"class_path": "textok.DiT"}} if stage == "generator" else {}
        config = {
            "trainer": {"max_steps": 40},
            "model": {"class_path": f"textok.modules.{stage.title()}Module", "init_args": model},
            "data": {"class_path": f"textok.datamodules.{data}", "init_args": {"image_size": IMAGE_SIZE}},
        }
        (folder / "config.yaml").write_text(yaml.safe_dump(config))
        results = {"step": 40, "images_seen": 1280, "training_seconds": 200.0, "metrics": metrics or {}}
        (folder / "metrics.json").write_text(json.dumps(results))
        for file, found in more.get("evaluation", {}).items():
            (folder / "evaluation").mkdir(exist_ok=True)
            (folder / "evaluation" / f"{file}.json").write_text(json.dumps({"metrics": found} | more.get("told", {})))
        if more.get("curves"):
            logger = CurveLogger(folder / "curves.csv")
            for step, values in more["curves"]:
                logger.log_metrics(values, step=step)
        if more.get("colours"):
            (folder / "pictures").mkdir()
            originals, reconstructed = ([tile(*colour) for colour in row] for row in more["colours"])
            rows = [originals, reconstructed, originals, originals]
            labels = ["original", "with its caption", "without a caption", "with another image's"]
            footers = [[("a caption", 7, "#000000")]] * len(originals)
            picture = draw_grid(rows, labels, footers, title="Reconstructions of held-out images at step 40")
            picture.save(folder / "pictures" / "reconstruction.png")
            words = {"step": 40, "captions": [{"own": f"{HOSTILE} a caption", "other": ""}] * len(originals)}
            (folder / "pictures" / "reconstruction.json").write_text(json.dumps(words))
        return folder

    return make

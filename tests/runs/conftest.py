"""A small run of stage 1 on shapes with several captions, for what is made from one."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import tiny
import torch
import yaml
from PIL import Image

from textok.cli import main
from textok.datamodules import BadData, CaptionDataModule, FolderSource, NoCaption

CONFIGS = Path(__file__).parents[2] / "configs"

# What torchrun starts instead of ``-m textok``: its second process is killed at its n-th flush or rename of a file.
DEADLY = """
import os, signal, sys
from textok.cli import main

if __name__ == "__main__":
    left = int(sys.argv[1]) if os.environ["RANK"] == "1" else 0

    def deadly(call):
        def counted(*args, **kwargs):
            global left
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return call(*args, **kwargs)
        return counted

    os.fsync, os.replace = deadly(os.fsync), deadly(os.replace)
    sys.exit(main(sys.argv[2:]))
"""


@pytest.fixture
def torchrun(tmp_path):
    """Runs a command of textok in two processes of torchrun; the second of them may be killed on the way."""

    def run(arguments, kill_at=None):
        started = ["-m", "textok"]
        if kill_at is not None:
            (tmp_path / "deadly.py").write_text(DEADLY)
            started = [str(tmp_path / "deadly.py"), str(kill_at)]
        command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", *started]
        done = subprocess.run(
            [*command, *map(str, arguments)],
            capture_output=True,
            text=True,
            timeout=280,
            env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(CONFIGS.parent)},
        )
        assert (done.returncode == 0) == (kill_at is None), done.stderr[-4000:]
        assert kill_at is None or "SIGKILL" in done.stderr, done.stderr[-4000:]
        return done

    return run


@pytest.fixture(scope="session")
def stage1(tmp_path_factory, t5_folder):
    """The options that ``fit`` got, and the run folder of two steps."""
    folder = tmp_path_factory.mktemp("stage1")
    options = tiny.options(
        folder,
        "tokenizer",
        t5_folder,
        trainer={"max_steps": 2, "callbacks": []},
        checkpoint={"every_n_train_steps": 2},
        data={"num_train": 20, "eval_batch_size": 6},
        module={"discriminator": None, "stage": {"start": 100}},
    )
    assert main(["fit", *options, "--run", str(folder / "tokenizer")]) == 0
    return options, folder / "tokenizer"


@pytest.fixture
def damaged(tmp_path):
    """Makes a datamodule over 20 pictures with captions, some of them cut off."""

    def make(broken, max_share=0.2):
        folder = tmp_path / "pictures"
        folder.mkdir()
        noise = torch.randint(0, 256, (20, 24, 24, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
        for number, pixels in enumerate(noise):
            file = folder / f"{number:02d}.png"
            Image.fromarray(pixels.numpy()).save(file)
            file.with_suffix(".txt").write_text(f"picture {number}")
        for number in broken:
            file = folder / f"{number:02d}.png"
            file.write_bytes(file.read_bytes()[:99])
        data = CaptionDataModule(
            [FolderSource(folder)],
            image_size=16,
            held_out_share=0.3,
            batch_size=4,
            num_workers=0,
            missing=NoCaption(),
            bad_data=BadData(max_share, log=tmp_path / "bad.tsv"),
        )
        data.setup()
        return data

    return make


def fit_generator(folder, stage1, overlay, choices):
    """A run folder of two steps of stage 2."""
    options, tokenizer = stage1
    tiny = {
        "trainer": {
            "max_steps": 2,
            "val_check_interval": 2,
            "callbacks": [{"class_path": "textok.callbacks.ResultsWriter"}],
        },
        "checkpoint": {"every_n_train_steps": 2},
        "model": {
            "init_args": {
                "tokenizer_checkpoint": str(tokenizer),
                "normalizer_batches": 2,
                "schedule": {"init_args": {"warmup_steps": 1}},
                "sampler": {"init_args": {"num_steps": 4}},
                "dit": {"init_args": {"width": 16, "depth": 1, "num_heads": 2}},
                **choices,
            }
        },
    }
    (folder / "tiny.yaml").write_text(yaml.safe_dump(tiny))
    shared = yaml.safe_load(Path(options[-1]).read_text())
    parts = {
        "data": shared["data"],
        "model": {"init_args": {name: shared["model"]["init_args"][name] for name in ("text_encoder", "textok")}},
    }
    (folder / "shared.yaml").write_text(yaml.safe_dump(parts))
    files = [CONFIGS / "base.yaml", *(CONFIGS / "quickstart" / f"{name}.yaml" for name in ("generator", "pair"))]
    files += [*overlay, folder / "shared.yaml", folder / "tiny.yaml"]
    run = folder / "generator"
    assert main(["fit", *(part for file in files for part in ("-c", str(file))), "--run", str(run)]) == 0
    # Two steps leave the average at its gated start, where no condition matters: any weights will do.
    file = next((run / "checkpoints").glob("step*.ckpt"))
    state = torch.load(file, weights_only=True)
    generator = torch.Generator().manual_seed(5)
    for name, value in state["state_dict"].items():
        if name.startswith("ema.") and value.is_floating_point():
            value += 0.1 * torch.randn(value.shape, generator=generator)
    torch.save(state, file)
    return run


@pytest.fixture(scope="session")
def classes_run(tmp_path_factory, stage1):
    """The run folder of a class-conditional generator."""
    return fit_generator(tmp_path_factory.mktemp("classes"), stage1, [], {})


@pytest.fixture(scope="session")
def text_run(tmp_path_factory, stage1):
    """The run folder of a text-to-image generator."""
    return fit_generator(tmp_path_factory.mktemp("text"), stage1, [CONFIGS / "generator_t2i.yaml"], {})

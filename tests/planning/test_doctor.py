"""Each check of ``doctor`` against a configuration that is broken in its way, and against one that is not."""

import pytest
import torch

from textok.cli import main
from textok.planning import CHECKS, Gpu, Plan, examine, examine_options, find_gpu, parse
from textok.planning import resources as places
from textok.planning.gpus import RESERVED


@pytest.fixture
def findings_of(options_of):
    """The findings of one check on an entry point with options of its own, as (severity, what, remedy)."""

    def find(check, entry, *options, more=("conditioning/none",), gpu=None, devices=None, folder=None):
        cli = parse([*options_of(entry, *more), *options])
        plan = Plan(cli, find_gpu(gpu) if isinstance(gpu, str) else gpu, devices, folder)
        return [(found.severity, found.what, found.remedy) for found in CHECKS[check][0](plan)]

    return find


def errors(findings):
    return [finding for finding in findings if finding[0] == "error"]


@pytest.mark.slow
def test_a_sound_configuration_passes(options_of, capsys):
    assert main(["doctor", *options_of("tokenizer")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == "0 errors, 0 warnings"
    assert {line.split()[1] for line in lines[:-1]} == {name.split()[0] for name in CHECKS}


def test_a_broken_configuration_has_one_line_a_finding_and_exit_code_1(options_of, tmp_path, capsys):
    options = [
        "--model.init_args.perceptual=textok.losses.LPIPSLoss",
        f"--model.init_args.perceptual.init_args.weights={tmp_path}/gone.pth",
        "--trainer.precision=16-true",
        "--data.init_args.batch_size=2000",
    ]
    assert main(["doctor", *options_of("tokenizer"), *options]) == 1
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("error")]
    assert all(" -> " in line for line in lines)
    assert {line.split()[1] for line in lines} == {"files", "weights", "batch", "precision"}


def test_a_key_that_does_not_exist_is_a_finding(options_of, capsys):
    assert main(["doctor", *options_of("tokenizer"), "--trainer.max_stepps=3"]) == 1
    (line, _) = capsys.readouterr().out.splitlines()
    assert line.startswith("error   syntax") and "--trainer.max_stepps=3" in line


def test_processes_of_a_slurm_job(findings_of, monkeypatch):
    options = ("--trainer.accelerator=cpu", "--trainer.num_nodes=2", "--trainer.devices=4")
    assert findings_of("slurm", "tokenizer", *options) == []
    job = {"SLURM_JOB_ID": "1", "SLURM_NNODES": "2", "SLURM_NTASKS": "8", "SLURM_NTASKS_PER_NODE": "4"}
    for name, value in job.items():
        monkeypatch.setenv(name, value)
    assert findings_of("slurm", "tokenizer", *options) == []
    assert findings_of("slurm", "tokenizer", *options[:1]) == [
        ("error", "trainer.num_nodes is 1, and the job has 2 nodes", "set --trainer.num_nodes 2"),
        (
            "error",
            "trainer.devices is auto, which is 1 here, and the job has 4 tasks a node",
            "set --trainer.devices 4",
        ),
    ]
    monkeypatch.delenv("SLURM_NTASKS_PER_NODE")
    ((severity, what, _),) = findings_of("slurm", "tokenizer", *options)
    assert severity == "error" and what == "the job has 8 tasks, by --ntasks"


def test_files(findings_of, tmp_path):
    ((severity, what, _),) = findings_of(
        "files", "generator", f"--model.init_args.tokenizer_checkpoint={tmp_path}/stage1"
    )
    assert severity == "error" and what.endswith(f"tokenizer_checkpoint: there is no {tmp_path}/stage1")
    assert findings_of("files", "generator", f"--model.init_args.tokenizer_checkpoint={tmp_path}") == []


@pytest.mark.parametrize(
    ("entry", "option", "words"),
    [
        ("tokenizer", "textok.init_args.patch_size=7", "image_size 32 is not a multiple of patch_size 7"),
        ("tokenizer", "textok.init_args.num_heads=5", "width 128 is not a multiple of num_heads 5"),
        ("generator", "dit.init_args.num_heads=3", "num_heads must divide the width, got width 128 and 3 heads"),
        ("tokenizer", "discriminator.init_args.multipliers=[1,2]", "but image_size is 32"),
    ],
)
def test_model(entry, option, words, findings_of):
    ((severity, what, _),) = findings_of("model", entry, f"--model.init_args.{option}")
    assert severity == "error" and words in what and "\n" not in what


@pytest.mark.slow
def test_data(findings_of):
    ((severity, what, _),) = findings_of("data", "tokenizer", "--data.init_args.num_classes=3")
    assert severity == "error" and "the data has 95 classes" in what
    assert findings_of("data", "tokenizer") == [("note", "1,439 training and 160 held-out images", "")]


@pytest.mark.parametrize(("share", "severity"), [(1, None), (2, "warning"), (10**9, "error")])
def test_captions(share, severity, options_of, monkeypatch):
    plan = Plan(parse(options_of("tokenizer")))
    images = plan.data.splits.train
    captions = images.captions
    # Pictures of a real dataset lose their captions: every one, every second, or all but the first.
    monkeypatch.setattr(images, "captions", lambda row: captions(row) if row % share == 0 and share < 10**9 else [])
    found = [finding.severity for finding in CHECKS["captions"][0](plan)]
    assert found == ([] if severity is None else [severity])


def test_captions_do_not_matter_where_nobody_reads_them(findings_of):
    assert findings_of("captions", "tokenizer") == []


def test_weights_of_the_text_encoder(findings_of, t5_folder, tmp_path):
    encoder = "--model.init_args.text_encoder.init_args."
    ((severity, what, _),) = findings_of(
        "weights", "tokenizer", f"{encoder}name={tmp_path}", f"{encoder}dim=8", more=()
    )
    assert severity == "error" and f"no weights in the folder {tmp_path}" in what
    assert findings_of("weights", "tokenizer", f"{encoder}name={t5_folder}", more=()) == []
    found = findings_of("weights", "tokenizer", f"{encoder}name=nobody/nothing", f"{encoder}dim=8", more=())
    assert "hf download nobody/nothing" in found[0][2]


def test_weights_of_perceptual_loss_and_metrics(findings_of, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    more = ("conditioning/none", "measure/reconstruction")
    lpips = "--model.init_args.perceptual=textok.losses.LPIPSLoss"
    found = errors(findings_of("weights", "tokenizer", lpips, more=more))
    assert [what.split(":")[0] for _, what, _ in found] == [
        "the perceptual loss (LPIPS, vgg)",
        "ReconstructionMetrics (Inception)",
        "ReconstructionMetrics (LPIPS, alex)",
    ]
    folder = tmp_path / "checkpoints"
    folder.mkdir()
    for url in (places.INCEPTION_URL, *places.BACKBONES.values()):
        (folder / url.rsplit("/", 1)[1]).touch()
    assert findings_of("weights", "tokenizer", lpips, more=more) == []


@pytest.mark.slow
def test_stage_1(findings_of, parsed, tmp_path):
    assert "is not set" in findings_of("stage 1", "generator")[0][1]
    with torch.random.fork_rng():
        module = parsed("tokenizer", more=("conditioning/none",)).build_model()
    file = tmp_path / "checkpoints" / "step00000001.ckpt"
    file.parent.mkdir()
    torch.save({"state_dict": module.state_dict()}, file)
    given = f"--model.init_args.tokenizer_checkpoint={tmp_path}"
    assert findings_of("stage 1", "generator", given) == []
    ((severity, what, _),) = findings_of(
        "stage 1", "generator", given, "--model.init_args.textok.init_args.num_latents=8"
    )
    assert severity == "error" and "is another than the configured one" in what
    file.write_bytes(b"no checkpoint")
    assert "cannot be read" in findings_of("stage 1", "generator", given)[0][1]


@pytest.mark.slow
def test_batch(findings_of):
    ((severity, what, remedy),) = findings_of("batch", "tokenizer", devices=100)
    assert severity == "error" and "100 processes with batch_size 16 need more than the 1,439" in what
    assert remedy.endswith("at most 14")
    found = findings_of("batch", "tokenizer", "--data.init_args.batch_size=1000")
    assert [severity for severity, *_ in found] == ["note", "warning"]
    ((severity, what, _),) = findings_of("batch", "tokenizer", "--model.init_args.accumulate=2", devices=4)
    assert severity == "note" and what.startswith("a step sees 128 images")


@pytest.mark.slow
def test_length(findings_of):
    def severities(*options):
        return [severity for severity, *_ in findings_of("length", "tokenizer", *options)]

    assert severities() == []
    assert severities("--trainer.max_steps=-1") == ["error"]
    # Shorter than the warm-up, and before the discriminator starts.
    assert severities("--trainer.max_steps=50", "--checkpoint.every_n_train_steps=50") == ["error", "warning"]
    assert severities("--checkpoint.every_n_train_steps=800") == []  # the last step is always saved


@pytest.mark.parametrize(
    ("options", "gpu", "severities"),
    [
        (["--trainer.accelerator=gpu", "--trainer.precision=bf16-mixed"], "h100", []),
        (["--trainer.accelerator=gpu", "--trainer.precision=bf16-mixed"], "v100", ["error"]),
        (["--trainer.accelerator=gpu", "--trainer.precision=32-true"], "h100", ["warning"]),
        (["--trainer.accelerator=gpu", "--trainer.precision=32-true"], "v100", []),
        (["--trainer.precision=bf16-mixed"], "a100", ["warning"]),
        (["--trainer.precision=16-true"], None, ["error"]),
        (["--trainer.precision=16-mixed"], None, []),
        (["--trainer.precision=bf16-true"], None, ["error"]),
        (["--trainer.precision=16-mixed", "--trainer.strategy=fsdp"], None, ["error"]),
        (["--trainer.precision=16-mixed", "--trainer.strategy=ddp"], None, []),
        ([], None, []),
    ],
)
def test_precision(options, gpu, severities, findings_of):
    assert [severity for severity, *_ in findings_of("precision", "tokenizer", *options, gpu=gpu)] == severities


def test_strategy(findings_of):
    adaptive, sharded = "--model.init_args.stage.adaptive=true", ("conditioning/none", "overlays/fsdp")
    ((severity, what, _),) = findings_of("strategy", "tokenizer", adaptive, more=sharded)
    assert severity == "error" and what.startswith("stage.adaptive needs the gradient")
    assert findings_of("strategy", "tokenizer", adaptive) == findings_of("strategy", "tokenizer", more=sharded) == []
    text = "--model.init_args.shard_text_encoder=true"
    for entry in ("tokenizer", "generator"):
        ((severity, what, remedy),) = findings_of("strategy", entry, text, more=("overlays/ddp",))
        assert severity == "error" and what.startswith("shard_text_encoder") and "fsdp.yaml" in remedy
        assert findings_of("strategy", entry, text, more=("overlays/fsdp",)) == []
    ((severity, what, _),) = findings_of("precision", "tokenizer", "--trainer.precision=16-mixed", more=sharded)
    assert severity == "error" and "sharded weights" in what


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_a_gpu_that_is_not_here(findings_of):
    assert "this machine has none" in findings_of("precision", "tokenizer", "--trainer.accelerator=gpu")[0][1]


@pytest.mark.slow
def test_memory(findings_of):
    small = Gpu("small", 1e12, 1e12, 1e12, RESERVED + 40 * 2**20, 1e9)
    alone = ["--model.init_args.discriminator=null", "--model.init_args.perceptual=null"]
    ((severity, what, remedy),) = findings_of(
        "memory", "tokenizer", *alone, "--data.init_args.batch_size=64", gpu=small
    )
    assert severity == "error" and "a step with 64 images needs" in what
    fitting = int(remedy.split()[1])
    assert 1 < fitting < 64 and remedy.endswith(f"accumulate to {-(-64 // fitting)}")
    batch = f"--data.init_args.batch_size={fitting}"
    ((severity, *_),) = findings_of("memory", "tokenizer", *alone, batch, gpu=small)
    assert severity == "note"
    # Checkpointed blocks and shards are reckoned with.
    need, wide = {}, ["--model.init_args.textok.init_args.width=1024", "--data.init_args.batch_size=256"]
    for overlay in ("overlays/ddp", "overlays/fsdp"):
        for blocks in ("false", "true"):
            option = f"--model.init_args.checkpoint_blocks={blocks}"
            choices = {"more": ("conditioning/none", overlay), "gpu": small, "devices": 2}
            (found,) = findings_of("memory", "tokenizer", *alone, *wide, option, **choices)
            need[overlay, blocks] = float(found[1].split("needs ")[1].split()[0])
    assert len(set(need.values())) == 4
    assert "not checked" in findings_of("memory", "tokenizer")[0][1]


@pytest.mark.slow
def test_disk(findings_of, monkeypatch, tmp_path):
    assert findings_of("disk", "tokenizer", folder=tmp_path / "runs" / "new") == []
    usage = places.shutil.disk_usage(tmp_path)
    monkeypatch.setattr(places.shutil, "disk_usage", lambda place: usage._replace(free=10**6))
    ((severity, what, _),) = findings_of("disk", "tokenizer", folder=tmp_path / "runs" / "new")
    assert severity == "error" and f"{tmp_path} has 1.0 MB free" in what
    assert findings_of("disk", "tokenizer", "--checkpoint.save_top_k=-1")[0][0] == "warning"


def test_what_cannot_be_checked_is_said(options_of):
    found = dict(examine_options([*options_of("tokenizer"), "--model.init_args.textok.init_args.patch_size=7"]))
    assert found["model"].severity == "error"
    assert found["memory"].what == "not checked: it needs the model"


@pytest.mark.slow
def test_a_library_user_gets_findings(parsed):
    assert {name for name, _ in examine(Plan(parsed("tokenizer")))} == set(CHECKS)

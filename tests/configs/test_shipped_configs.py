"""Every shipped configuration parses, and builds its model on the meta device."""

from pathlib import Path

import pytest
import torch

from textok.commands.evaluate import build_parser
from textok.modules import TrainingModule
from textok.runs.parser import TextokCLI

CONFIGS = Path(__file__).parents[2] / "configs"
BASE = ["base.yaml"]
QUICK = ["quickstart/tokenizer.yaml", "quickstart/pair.yaml"]
QUICK_TEXT = [
    *BASE,
    "quickstart/generator.yaml",
    "quickstart/pair.yaml",
    "quickstart/generator_text.yaml",
]
TOKENIZER = [*BASE, "tokenizer.yaml", "textok/paper256.yaml", "data/shapes256.yaml"]
GENERATOR = [*BASE, "generator.yaml", "textok/paper256.yaml", "data/shapes256.yaml"]

#: Entry point with its overlays → parameters of the trained network in millions (paper.md), None where it names none.
COMBINATIONS = {
    **{f"tokenizer n{n}": ([*TOKENIZER, f"textok/n{n}.yaml"], m) for n, m in ((32, 176.20), (64, 176.27))},
    **{f"tokenizer n{n}": ([*TOKENIZER, f"textok/n{n}.yaml"], m) for n, m in ((128, 176.42), (256, 176.71))},
    **{
        f"tokenizer 512 n{n}": (
            [
                *BASE,
                "tokenizer.yaml",
                "textok/paper256.yaml",
                "data/shapes512.yaml",
                "textok/imagenet512.yaml",
                "textok/discriminator512.yaml",
                f"textok/n{n}.yaml",
            ],
            m,
        )
        for n, m in ((32, 180.23), (64, 180.30), (128, 180.45), (256, 180.74))
    },
    **{
        f"tokenizer {name}": ([*BASE, "tokenizer.yaml", "textok/paper256.yaml", f"data/{name}.yaml"], None)
        for name in ("imagenet256", "folder", "coco", "tuxpaint", "webdataset")
    },
    "tokenizer imagenet512": (
        [
            *BASE,
            "tokenizer.yaml",
            "textok/paper256.yaml",
            "data/imagenet512.yaml",
            "textok/imagenet512.yaml",
            "textok/discriminator512.yaml",
        ],
        None,
    ),
    "tokenizer no text": ([*TOKENIZER, "conditioning/none.yaml"], 172.85),
    "tokenizer no text n256": ([*TOKENIZER, "textok/n256.yaml", "conditioning/none.yaml"], 173.37),
    "tokenizer only": ([*TOKENIZER, "conditioning/tokenizer_only.yaml"], 174.53),
    "detokenizer only": ([*TOKENIZER, "conditioning/detokenizer_only.yaml"], 174.53),
    # An extra attention in each of 24 blocks: 4 · 768² weights, 4 · 768 biases and a norm of 2 · 768.
    "tokenizer cross-attention": ([*TOKENIZER, "conditioning/cross_attention.yaml"], 176.20 + 24 * 2.3639),
    "tokenizer cross-attention in one half": (
        [*TOKENIZER, "conditioning/cross_attention.yaml", "conditioning/tokenizer_only.yaml"],
        174.53 + 12 * 2.3639,
    ),
    "tokenizer in-context in one half": (
        [*TOKENIZER, "conditioning/in_context.yaml", "conditioning/detokenizer_only.yaml"],
        174.53,
    ),
    # An MLP 2048 → 768 → 768 a half, and 6 · 768 outputs of 768 inputs a block.
    "tokenizer pooled text": (
        [*TOKENIZER, "conditioning/pooled_text.yaml"],
        172.85 + 2 * (2.0490 * 0.768 + 0.769 * 0.768) + 24 * 4.608 * 0.769,
    ),
    "tokenizer class": ([*TOKENIZER, "conditioning/class_embedding.yaml"], 172.85 + 2 * 8 * 768e-6),
    **{
        f"tokenizer {kind}": ([*TOKENIZER, f"captions/{kind}.yaml"], 176.20)
        for kind in ("class_name", "words25", "words75")
    },
    "tokenizer text dropout": ([*TOKENIZER, "conditioning/text_dropout.yaml"], 176.20 + 2 * 768e-6),
    "quickstart tokenizer text dropout": ([*BASE, *QUICK, "conditioning/text_dropout.yaml"], None),
    # 4096 instead of 2048 inputs of the two projections, and so on; MiniLM has 384.
    **{
        f"tokenizer {name}": ([*TOKENIZER, f"text_encoder/{name}.yaml"], 176.20 + 2 * (width - 2048) * 768e-6)
        for name, width in (
            ("t5_small", 512),
            ("t5_base", 768),
            ("t5_large", 1024),
            ("t5_xl", 2048),
            ("t5_xxl", 4096),
            ("minilm", 384),
        )
    },
    "tokenizer normalized": ([*TOKENIZER, "text_encoder/normalized.yaml"], 176.20),
    "tokenizer random": ([*TOKENIZER, "text_encoder/random.yaml"], 176.20 + 2 * (384 - 2048) * 768e-6),
    "tokenizer clip": (
        [*TOKENIZER, "text_encoder/clip_l.yaml"],
        176.20 + 2 * (768 - 2048) * 768e-6 - 2 * (128 - 77) * 768e-6,
    ),
    "tokenizer small": ([*TOKENIZER, "textok/small.yaml"], None),
    "tokenizer base": ([*TOKENIZER, "textok/n128.yaml", "textok/base.yaml"], 176.42),
    "tokenizer large": ([*TOKENIZER, "textok/large.yaml"], None),
    "tokenizer gpu": ([*TOKENIZER, "overlays/gpu.yaml"], 176.20),
    "tokenizer ddp": ([*TOKENIZER, "overlays/gpu.yaml", "overlays/ddp.yaml"], None),
    "generator fsdp": ([*GENERATOR, "overlays/gpu.yaml", "overlays/fsdp.yaml"], None),
    **{f"generator {s}": ([*GENERATOR, f"dit/{s}.yaml"], m) for s, m in (("s", 32.7), ("b", 130.0), ("l", 457.2))},
    "generator xl": ([*GENERATOR, "dit/xl.yaml"], 674.0),
    "generator 512": (
        [
            *BASE,
            "generator.yaml",
            "textok/paper256.yaml",
            "data/shapes512.yaml",
            "textok/imagenet512.yaml",
            "textok/n128.yaml",
        ],
        674.0,
    ),
    # DiT-XL without its 1000 classes, 28 more attentions with a norm, and the text's projection, positions and null.
    "generator t2i": ([*GENERATOR, "generator_t2i.yaml"], 674.81 - 1.15 + 28 * 5.3153 + 1.152 * 2.178),
    "generator t2i small, pair without text": (
        [*GENERATOR, "generator_t2i.yaml", "dit/s.yaml", "conditioning/pair_without_text.yaml"],
        None,
    ),
    "generator velocity": ([*GENERATOR, "dit/s.yaml", "process/velocity.yaml"], None),
    "generator flow": ([*GENERATOR, "dit/s.yaml", "process/rectified_flow.yaml"], None),
    "generator autoguidance": ([*GENERATOR, "dit/s.yaml", "guidance/autoguidance.yaml"], None),
    "generator apg": ([*GENERATOR, "dit/s.yaml", "guidance/apg.yaml"], None),
    "generator from latents": (
        [*BASE, "generator.yaml", "textok/paper256.yaml", "data/latents.yaml", "dit/s.yaml"],
        33.1,
    ),
    "generator no text": ([*GENERATOR, "conditioning/none.yaml"], None),
    "tokenizer measured": ([*TOKENIZER, "measure/reconstruction.yaml"], None),
    "generator measured": ([*GENERATOR, "measure/classes.yaml", "measure/text.yaml", "measure/lite0.yaml"], None),
    "generator ddpm": ([*GENERATOR, "sampler/ddpm250.yaml", "overlays/gpu.yaml"], None),
    "generator dpm": ([*GENERATOR, "sampler/dpm20.yaml"], None),
    "emoji tokenizer": ([*BASE, *QUICK, "data/emoji.yaml"], None),
    "fashion tokenizer": ([*BASE, *QUICK, "data/fashion.yaml"], None),
    "shapes tokenizer": ([*BASE, *QUICK, "data/shapes.yaml"], None),
    "quickstart tokenizer": ([*BASE, *QUICK], None),
    "quickstart tokenizer fast": ([*BASE, *QUICK, "quickstart/tokenizer_fast.yaml"], None),
    "quickstart generator": ([*BASE, "quickstart/generator.yaml", "quickstart/pair.yaml"], None),
    "quickstart generator fast": (
        [*BASE, "quickstart/generator.yaml", "quickstart/pair.yaml", "quickstart/generator_fast.yaml"],
        None,
    ),
    "quickstart text": (QUICK_TEXT, None),
    "quickstart text fast": ([*QUICK_TEXT, "quickstart/generator_fast.yaml"], None),
}


#: What `textok evaluate` takes.
PROTOCOLS = [f"evaluation/{name}50k.yaml" for name in ("reconstruction", "classes", "text")]

#: Diffusers' multistep solvers compute with numpy in their constructor, which the meta device refuses: these are built
#: on the CPU, at a depth of one.
ON_CPU = {"generator dpm", "generator flow", "quickstart generator", "quickstart generator fast"}
ON_CPU |= {"quickstart text", "quickstart text fast"}
SHALLOW = [
    "--model.init_args.textok.init_args.depth=1",
    "--model.init_args.dit.init_args.depth=1",
    "--model.init_args.text_encoder.init_args.num_tokens=8",
]


def parse(files: list[str], *options: str) -> TextokCLI:
    args = [part for file in files for part in ("--config", str(CONFIGS / file))]
    return TextokCLI([*args, *options], run=False)


def build(files: list[str], *options: str, device: str = "meta") -> TrainingModule:
    cli = parse(files, *options)
    with torch.device(device):
        return cli.build_model()


@pytest.mark.parametrize("name", COMBINATIONS)
def test_it_parses_and_builds_on_the_meta_device(name):
    files, millions = COMBINATIONS[name]
    device, options = ("cpu", SHALLOW) if name in ON_CPU else ("meta", [])
    model = build(files, *options, device=device)
    assert next(model.trained.parameters()).device.type == device
    if millions is not None:
        count = sum(parameter.numel() for parameter in model.trained.parameters())
        assert count / 1e6 == pytest.approx(millions, abs=0.01 if millions < 200 and "generator" not in name else 0.5)


def test_no_shipped_file_is_left_out():
    used = {file for files, _ in COMBINATIONS.values() for file in files} | {"overlays/wandb.yaml"} | set(PROTOCOLS)
    shipped = {str(path.resolve().relative_to(CONFIGS)) for path in CONFIGS.rglob("*.yaml")}
    # Sweeps and what they alone use are parsed by tests/runs/test_sweep_plan.py.
    assert {file for file in shipped if not file.startswith("sweeps/")} == used


def test_the_rows_of_table_4_are_links_to_fragments():
    rows = sorted((CONFIGS / "ablations").iterdir())
    assert {row.name[:2] for row in rows} == {"4a", "4b", "4c", "4d", "4e"}
    assert all(row.is_symlink() and row.is_file() for row in rows)


@pytest.mark.parametrize("file", PROTOCOLS)
def test_the_evaluation_protocols_parse_and_build(file):
    parser = build_parser()
    options = parser.instantiate_classes(parser.parse_args(["some/run", "--config", str(CONFIGS / file)]))
    assert set(options.metrics) <= set(options.extractor.measures)
    assert (options.pairs is not None) == ("reconstruction" in file)
    assert (options.clip_score is not None) == ("text" in file)


def test_the_paper_s_discriminator_at_both_sizes():
    for name, count in (("tokenizer n32", 24_192_385), ("tokenizer 512 n32", 24_229_377)):
        model = build(COMBINATIONS[name][0])
        assert sum(p.numel() for p in model.discriminator.parameters()) == count


def test_conditioning_is_swapped_in_three_lines(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text("model: {init_args: {textok: {init_args: {detokenizer_conditioning: textok.models.NoText}}}}")
    model = build([*TOKENIZER, str(file)])
    assert type(model.textok.detokenizer.trunk.conditioning).__name__ == "NoText"
    assert type(model.textok.tokenizer.trunk.conditioning).__name__ == "InContext"


def test_sizes_come_from_the_data():
    critic = "--model.init_args.discriminator.init_args.multipliers=[1,2,4,4]"
    model = build([*BASE, *QUICK], "--data.init_args.image_size", "64", critic)
    assert model.sizes.image_size == 64
    assert model.sizes.num_classes == 95

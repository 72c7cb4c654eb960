"""Fits of seconds: the quickstart's configurations with an overlay on top that makes them tiny."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

CONFIGS = Path(__file__).parents[1] / "configs"


def options(folder: Path, stage: str, t5: Path, **changes: Any) -> list[str]:
    """Write ``folder/stage.yaml`` and give the ``-c`` options of a tiny fit.

    Args:
        folder: Where the overlay is written.
        stage: tokenizer or generator.
        t5: Folder of a text encoder.
        **changes: Sections of the configuration, merged over the overlay's; ``module`` stands for the model's
            ``init_args`` and ``data`` for those of the data.
    """
    module: dict[str, Any] = {
        "text_encoder": {
            "class_path": "textok.models.T5TextEncoder",
            "init_args": {"name": str(t5), "num_tokens": 200},
        },
        "textok": {"init_args": {"num_latents": 4, "patch_size": 4, "width": 16, "depth": 1, "num_heads": 2}},
        "schedule": {"init_args": {"warmup_steps": 1}},
    }
    if stage == "tokenizer":
        critic = {"init_args": {"base_width": 4, "multipliers": [1, 2]}}
        module |= {"perceptual": None, "discriminator": critic, "stage": {"start": 2, "warmup": 1}}
    else:
        dit = {"init_args": {"width": 16, "depth": 1, "num_heads": 2}}
        module |= {"dit": dit, "sampler": {"init_args": {"num_steps": 2}}}
    data = {"image_size": 16, "num_train": 64, "num_val": 6, "batch_size": 4}
    data = {"class_path": "textok.datamodules.ShapesDataModule", "init_args": data | changes.pop("data", {})}
    module = _merged(module, changes.pop("module", {}))
    trainer = {"val_check_interval": 100, "log_every_n_steps": 1}
    tiny = {"trainer": trainer, "data": data, "model": {"init_args": module}}
    (folder / f"{stage}.yaml").write_text(yaml.safe_dump(_merged(tiny, changes)))
    return overlaid(folder, stage)


def both(folder: Path, t5: Path, tokenizer: dict[str, Any], generator: dict[str, Any], **changes: Any) -> None:
    """Write the overlays of both stages, which differ in their ``module`` alone; ``overlaid`` gives the options."""
    for stage, module in (("tokenizer", tokenizer), ("generator", generator)):
        options(folder, stage, t5, module=module, **changes)


def overlaid(folder: Path, stage: str) -> list[str]:
    """The same options for an overlay that is there already."""
    names = ("base", f"quickstart/{stage}", "quickstart/pair")
    files = [*(CONFIGS / f"{name}.yaml" for name in names), folder / f"{stage}.yaml"]
    return [part for file in files for part in ("-c", str(file))]


def _merged(base: dict[str, Any], more: dict[str, Any]) -> dict[str, Any]:
    inner = {key: _merged(base[key], v) for key, v in more.items() if isinstance(v, dict) and _is_dict(base, key)}
    return base | more | inner


def _is_dict(base: dict[str, Any], key: str) -> bool:
    return isinstance(base.get(key), dict)

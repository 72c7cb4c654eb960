"""The model card: what a model is, what it reached and how it is used."""

from __future__ import annotations

from collections.abc import Mapping

from textok.pipeline.networks import Networks


def write_card(networks: Networks, numbers: Mapping[str, float | None], name: str) -> str:
    """Markdown with the front matter that model hubs read.

    Args:
        networks: The model.
        numbers: What the run measured, by name; None where a number was not finite.
        name: Title, and the name to load it by.
    """
    pair, sizes = networks.pair, networks.pair.sizes
    millions = sum(p.numel() for p in pair.parameters()) / 1e6
    lines = [
        "---",
        "library_name: textok",
        f"pipeline_tag: {'text-to-image' if networks.generator_reads_text else 'image-to-image'}",
        "tags: [textok, image-tokenizer]",
        "---",
        f"# {name}",
        "",
        "A language-guided image tokenizer (TexTok, CVPR 2025)" + (" with a generator." if networks.dit else "."),
        "",
        "| | |",
        "|---|---|",
        f"| images | {sizes.image_size} x {sizes.image_size} pixels |",
        f"| latent tokens | {pair.num_latents} of {pair.latent_dim} channels |",
        f"| tokenizer and detokenizer | {millions:.1f} M parameters |",
    ]
    if networks.dit is not None:
        lines.append(f"| generator | {sum(p.numel() for p in networks.dit.parameters()) / 1e6:.1f} M parameters |")
        lines.append(f"| classes | {sizes.num_classes} |")
    if networks.text_encoder is not None:
        lines.append(f"| text encoder | {type(networks.text_encoder).__name__}, {sizes.num_text_tokens} tokens |")
    lines += ["", "## Measured", ""]
    if numbers:
        lines += ["| metric | value |", "|---|---|"]
        lines += [f"| {key} | {'not finite' if value is None else f'{value:.6g}'} |" for key, value in numbers.items()]
    else:
        lines.append("No numbers were recorded.")
    asked = 'prompt="a red bicycle"' if networks.generator_reads_text else "label=0"
    last = (
        f"pictures = pipeline.generate({asked}, num_images=4, seed=0)"
        if networks.dit is not None
        else ('pictures = pipeline.reconstruct(image, "what it shows")')
    )
    lines += [
        "",
        "## Use",
        "",
        "```python",
        "from textok.pipeline import TexTokPipeline",
        "",
        f'pipeline = TexTokPipeline.from_pretrained("{name}")',
        last,
        "```",
        "",
    ]
    return "\n".join(lines)

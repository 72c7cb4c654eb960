"""What the page calls a number, its unit and which way is better."""

from __future__ import annotations

import math
from collections.abc import Sequence

#: What is measured of reconstructions (r…), samples (g…) and samples of captions (t2i_…): its name, its unit, which way
#: is better.
DISTANCES = {
    "fid": ("FID", "", "lower"),
    "sfid": ("sFID", "", "lower"),
    "kid": ("KID", "", "lower"),
    "is": ("IS", "", "higher"),
    "precision": ("Precision", "", "higher"),
    "recall": ("Recall", "", "higher"),
    "fd_dinov2": ("FD-DINOv2", "", "lower"),
    "kd_dinov2": ("KD-DINOv2", "", "lower"),
    "precision_dinov2": ("Precision DINOv2", "", "higher"),
    "recall_dinov2": ("Recall DINOv2", "", "higher"),
    "fed": ("FED", "", "lower"),
    "ked": ("KED", "", "lower"),
    "precision_lite0": ("Precision Lite0", "", "higher"),
    "recall_lite0": ("Recall Lite0", "", "higher"),
}

#: Metric → its name, its unit, and whether lower or higher is better. Others show under their own name.
LABELS = {
    **{f"{of}{key}": (f"{of}{name}", *rest) for of in "rg" for key, (name, *rest) in DISTANCES.items()},
    **{f"t2i_{key}": (f"Text-to-image {name}", *rest) for key, (name, *rest) in DISTANCES.items()},
    "t2i_clip_score": ("Text-to-image CLIP score", "", "higher"),
    "lpips": ("LPIPS", "", "lower"),
    "psnr": ("PSNR", "dB", "higher"),
    "ssim": ("SSIM", "", "higher"),
    "clip_score": ("CLIP score", "", "higher"),
    "r1": ("R1", "", ""),
    "lecam": ("LeCAM", "", ""),
    "mse": ("MSE", "", ""),
    "vlb": ("VLB", "", ""),
    "seconds_per_image": ("Sampling time", "s / image", "lower"),
    "images_per_second": ("Throughput", "images / s", ""),
    "matmul_fraction": ("Matmul speed", "fraction of peak", ""),
    "discriminator_accuracy": ("Discriminator accuracy", "fraction", ""),
    "latent_std": ("Latent std", "standard deviation", ""),
    "logit_gap": ("Logit gap", "logits", ""),
}

#: Ending of a number that stands beside a metric → what it is.
BESIDE = {"_std": "deviation", "_floor": "between real images"}

#: Ending of a reconstruction metric → which caption it was measured with.
CAPTIONS = {"": "own caption", "_empty": "no caption", "_other": "another image's"}

#: Endings of what is logged to watch the optimisation and the machine rather than to be minimised.
WATCHED = ("grad_norm", "learning_rate", "latent_std", "logit_gap", "accuracy", "per_second", "fraction")


def title(metric: str) -> str:
    """A metric's name for people."""
    if metric in LABELS:
        return LABELS[metric][0]
    for ending, what in BESIDE.items():
        if metric.removesuffix(ending) in LABELS:
            return f"{LABELS[metric.removesuffix(ending)][0]} {what}"
    return metric.replace("_", " ").capitalize()


def axis(metric: str) -> str:
    """The text along an axis: the unit, and which way is better."""
    name, unit, better = LABELS.get(metric, ("", "", ""))
    if metric.endswith("learning_rate"):
        return "rate a step"
    if metric.endswith("grad_norm"):
        return "l2 norm"
    if not unit and not better:
        return "loss, unweighted"
    return ", ".join(part for part in (unit or name, f"{better} is better" if better else "") if part)


def split_caption(metric: str) -> tuple[str, str]:
    """``psnr_empty`` → ``psnr`` and the ending that says which caption it is about."""
    for ending in CAPTIONS:
        if ending and metric.endswith(ending):
            return metric.removesuffix(ending), ending
    return metric, ""


def decimals(values: Sequence[float]) -> int:
    """Decimal places that show the greatest of a column with four digits, so that the column's points align."""
    greatest = max((abs(value) for value in values), default=0.0)
    return min(8, max(0, 3 - math.floor(math.log10(greatest)))) if greatest > 0 else 0


def duration(seconds: float) -> str:
    """Seconds as people say them."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 90 * 60:
        return f"{seconds / 60:.1f} min"
    return f"{seconds / 3600:.1f} h"

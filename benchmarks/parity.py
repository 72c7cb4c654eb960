"""Two tables about the evaluator: parity with the reference implementations, and what batch and world size change.

    python benchmarks/parity.py [--num-images 60]

Parity: the same PNGs, and for Inception, LPIPS and CLIP the same random weights, on both sides. Invariance: the largest
relative difference of any number from that of one process with batches of 64, with features that depend on the image
alone, and end to end with Lite0.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from evaluation import pictures, random_inception, write_folder
from torch import Tensor

from textok.metrics import LPIPS, PSNR, SSIM, DistributionMetrics, InceptionFeatures, Lite0FeatureExtractor
from textok.types import from_uint8


def distances(folder: Path, sets: list[Tensor]) -> dict[str, tuple[float, float]]:
    """FID, IS, KID, precision and recall: ours and torch-fidelity's."""
    import torch_fidelity

    weights = random_inception(folder / "inception.pth")
    extractor = InceptionFeatures(weights)
    extractor.load()
    count = len(sets[0])
    metrics = DistributionMetrics(extractor, num_subsets=1, subset_size=count, score_parts=3)
    collector = metrics.reference_collector()
    for accumulator, images in ((metrics, sets[0]), (collector, sets[1])):
        accumulator.update(images, torch.arange(count))
    ours = metrics.compute(collector.compute({"dataset": "pictures"}))
    theirs = torch_fidelity.calculate_metrics(
        input1=str(write_folder(sets[0], folder / "samples")),
        input2=str(write_folder(sets[1], folder / "real")),
        cuda=False,
        fid=True,
        isc=True,
        kid=True,
        prc=True,
        feature_extractor="inception-v3-compat",
        feature_extractor_weights_path=str(weights),
        isc_splits=3,
        samples_shuffle=False,
        kid_subsets=1,
        kid_subset_size=count,
        save_cpu_ram=True,
        cache=False,
        verbose=False,
    )
    names = {"fid": "frechet_inception_distance", "is": "inception_score_mean", "kid": "kernel_inception_distance_mean"}
    return {key: (ours[key], theirs[names.get(key, key)]) for key in ("fid", "is", "kid", "precision", "recall")}


def pairs(folder: Path, sets: list[Tensor]) -> dict[str, tuple[float, float]]:
    """PSNR against its formula, SSIM against scikit-image, LPIPS against lpips."""
    import lpips
    import numpy as np
    from skimage.metrics import structural_similarity
    from torchvision.models import vgg16

    backbone = vgg16(weights=None).features
    weights = folder / "vgg.pth"
    torch.save({f"features.{name}": value for name, value in backbone.state_dict().items()}, weights)
    theirs = lpips.LPIPS(net="vgg", pnet_rand=True, verbose=False).eval()
    slices = [getattr(theirs.net, f"slice{number}") for number in range(1, 6)]
    for ours, layer in zip(backbone, [layer for part in slices for layer in part]):
        layer.load_state_dict(ours.state_dict())
    found = {}
    for metric in (PSNR(), SSIM(), LPIPS("vgg", weights)):
        metric.load()
        metric.update(*sets)
        found[metric.name] = metric.compute()[metric.name]
    one, other = ([image.permute(1, 2, 0).numpy() for image in images] for images in sets)
    errors = [np.mean((a.astype(float) - b) ** 2) for a, b in zip(one, other)]
    gaussian = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "channel_axis": 2}
    with torch.no_grad():
        distance = theirs(from_uint8(sets[0]), from_uint8(sets[1])).mean()
    return {
        "psnr": (found["psnr"], float(np.mean([10 * np.log10(255**2 / error) for error in errors]))),
        "ssim": (found["ssim"], float(np.mean([structural_similarity(a, b, **gaussian) for a, b in zip(one, other)]))),
        "lpips": (found["lpips"], float(distance)),
    }


class Given(Lite0FeatureExtractor):
    """Features that depend on the image alone to the last bit, whatever batch it is in."""

    def features(self, images: Tensor) -> dict[str, Tensor]:
        matrix = torch.randn(12, 1280, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        pixels = images[:, :, :2, :2].flatten(1).double() / 255
        return {"pooled": torch.stack([(row[:, None] * matrix).sum(dim=0) for row in pixels])}


def measure(rank: int, world: int, batch: int, kind: str, folder: str) -> None:
    """All numbers of one process among ``world``; the first writes them."""
    extractor = {"given": Given, "lite0": Lite0FeatureExtractor}[kind](64)
    extractor.load()
    if world > 1:
        dist.init_process_group("gloo", init_method=f"file://{folder}/{kind}_{batch}", rank=rank, world_size=world)
    sets = torch.load(f"{folder}/sets.pt", weights_only=True)
    metrics = DistributionMetrics(extractor, num_subsets=10, subset_size=len(sets[0]) // 2)
    collector = metrics.reference_collector()
    for accumulator, images in ((metrics, sets[0]), (collector, sets[1])):
        for rows in torch.arange(rank, len(images), world).split(batch):
            accumulator.update(images[rows], rows)
    numbers = metrics.compute(collector.compute({"dataset": "pictures"}))
    if rank == 0:
        Path(folder, f"{kind}_{world}_{batch}.json").write_text(json.dumps(numbers))
    if world > 1:
        dist.destroy_process_group()


def invariance(folder: Path) -> None:
    for kind, title in (("given", "given identical features"), ("lite0", "end to end with Lite0")):
        expected: dict[str, float] = {}
        for world in (1, 2):
            for batch in (64, 7, 1):
                if world == 1:
                    measure(0, 1, batch, kind, str(folder))
                else:
                    mp.spawn(measure, args=(2, batch, kind, str(folder)), nprocs=2)
                numbers = json.loads((folder / f"{kind}_{world}_{batch}.json").read_text())
                expected = expected or numbers
                error = max(abs(numbers[key] - value) / max(abs(value), 1e-12) for key, value in expected.items())
                print(f"{title:<26} {world} process{'es' * (world > 1):<2} batch {batch:>2}: {error:.1e}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--num-images", type=int, default=60, help="images of each set")
    args = parser.parse_args()
    torch.manual_seed(0)
    noise = torch.Generator().manual_seed(1)
    real = pictures(args.num_images, 64, seed=0)
    strength = torch.linspace(0.5, 40, args.num_images).view(-1, 1, 1, 1)  # from the nearly real to the far
    samples = (real + strength * torch.randn(real.shape, generator=noise)).clamp(0, 255).to(torch.uint8)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        print(f"{'metric':<12}{'textok':>14}{'reference':>14}{'difference':>12}")
        for key, (ours, theirs) in (distances(folder, [samples, real]) | pairs(folder, [samples, real])).items():
            print(f"{key:<12}{ours:>14.7g}{theirs:>14.7g}{abs(ours - theirs) / max(abs(theirs), 1e-12):>12.1e}")
        torch.save([samples, real], folder / "sets.pt")
        invariance(folder)


if __name__ == "__main__":
    main()

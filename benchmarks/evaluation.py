"""What measuring costs beside the feature network, and how it compares with torch-fidelity end to end.

    python benchmarks/evaluation.py [--num-images 2000] [--image-size 64] [--threads 2]

Prints ratios, each taken between two ways that alternate in one process, so they hold on a noisy machine:

1. images/s of a feature network that is given few images at a time, as ours are on a CPU, over 64 at once;
2. images/s of accumulating everything a metric needs, over images/s of the bare feature network on the same batches;
3. seconds of torchmetrics' SSIM over those of ours, both in float64;
4. seconds of torch-fidelity's ``calculate_metrics`` over ours, for FID, IS, precision and recall of two folders.

Inception has random weights here, which cost what the real ones do.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor
from torchvision.transforms.functional import pil_to_tensor

from textok.metrics import SSIM, DistributionMetrics, FeatureExtractor, InceptionFeatures, Lite0FeatureExtractor


def random_inception(path: Path) -> Path:
    """Weights as torch-fidelity stores them, drawn at random."""
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    class Initialised(FeatureExtractorInceptionV3):
        def load_state_dict(self, *_: object) -> None:
            """Keep what the constructor made."""

    torch.save({}, path)
    network = Initialised("inception-v3-compat", ["2048"], str(path))
    for module in network.modules():
        if isinstance(module, torch.nn.Conv2d):
            torch.nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
    torch.nn.init.normal_(network.fc.weight, std=0.05)  # so that classes differ, and with them the Inception score
    torch.save(network.state_dict(), path)
    return path


def pictures(count: int, size: int, seed: int) -> Tensor:
    """Uint8 pictures (count, 3, size, size) of smooth colours."""
    noise = torch.randn(count, 3, 8, 8, generator=torch.Generator().manual_seed(seed))
    return (F.interpolate(noise, size=(size, size), mode="bicubic") * 60 + 128).clamp(0, 255).to(torch.uint8)


def write_folder(images: Tensor, folder: Path) -> Path:
    folder.mkdir()
    for number, image in enumerate(images):
        Image.fromarray(image.permute(1, 2, 0).numpy()).save(folder / f"{number:06d}.png")
    return folder


def seconds(action: Callable[[], object]) -> float:
    begin = time.perf_counter()
    action()
    return time.perf_counter() - begin


def few_at_a_time(name: str, extractor: FeatureExtractor, images: Tensor) -> None:
    """Print one line: parts as the extractor makes them against the whole batch at once, in turn."""
    ways = (lambda: extractor(images), lambda: extractor.features(images))
    with torch.no_grad():
        rounds = [[seconds(way) for way in ways] for _ in range(4)][1:]
    parts, whole = (min(way) for way in zip(*rounds))
    print(
        f"{name:<12} few at a time {len(images) / parts:6.1f} images/s, {len(images)} at once "
        f"{len(images) / whole:6.1f} images/s: ratio {whole / parts:.2f}"
    )


def similarity(originals: Tensor, others: Tensor) -> None:
    """Print one line: SSIM by ours against torchmetrics', in turn."""
    from torchmetrics.functional.image import structural_similarity_index_measure

    def theirs() -> None:
        pair = others.double(), originals.double()
        structural_similarity_index_measure(*pair, sigma=1.5, data_range=255.0, reduction="none")

    metric = SSIM()
    rounds = [(seconds(lambda: metric.scores(originals, others)), seconds(theirs)) for _ in range(4)][1:]
    best, reference = (min(way) for way in zip(*rounds))
    ours, other = len(originals) / best, len(originals) / reference
    print(f"SSIM         ours {ours:.1f} images/s, torchmetrics {other:.1f} images/s: ratio {ours / other:.1f}")


def accumulating(name: str, extractor: FeatureExtractor, images: Tensor, batch: int) -> None:
    """Print one line: the bare network and the accumulators batch by batch in turn, each over all images."""
    metrics = DistributionMetrics(extractor)
    extractor(images[:batch])
    bare = full = 0.0
    for number, rows in enumerate(torch.arange(len(images)).split(batch)):
        ways = [lambda rows=rows: extractor(images[rows]), lambda rows=rows: metrics.update(images[rows], rows)]
        # Who comes first alternates, too: the second one finds the images in the cache.
        spent = {way: seconds(ways[way]) for way in ((0, 1) if number % 2 else (1, 0))}
        bare, full = bare + spent[0], full + spent[1]
    print(
        f"{name:<12} network {len(images) / bare:7.1f} images/s, accumulating {len(images) / full:7.1f} images/s: "
        f"ratio {bare / full:.3f}"
    )


def ours(extractor: InceptionFeatures, folders: list[Path], batch: int) -> dict[str, float]:
    metrics = DistributionMetrics(extractor, ["fid", "is", "precision", "recall"], score_parts=10)
    collector = metrics.reference_collector()
    for accumulator, folder in zip((metrics, collector), folders):
        paths = sorted(folder.iterdir())
        for rows in torch.arange(len(paths)).split(batch):
            images = torch.stack([pil_to_tensor(Image.open(paths[row])) for row in rows])
            accumulator.update(images, rows)
    return metrics.compute(collector.compute({"folder": str(folders[1])}))


def theirs(weights: Path, folders: list[Path], batch: int) -> dict[str, float]:
    import torch_fidelity

    return torch_fidelity.calculate_metrics(
        input1=str(folders[0]),
        input2=str(folders[1]),
        cuda=False,
        fid=True,
        isc=True,
        prc=True,
        feature_extractor="inception-v3-compat",
        feature_extractor_weights_path=str(weights),
        samples_shuffle=False,
        batch_size=batch,
        save_cpu_ram=True,  # no workers: they would compete for the cores, here and on any CPU
        cache=False,
        verbose=False,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--num-images", type=int, default=2000, help="images of each set")
    parser.add_argument("--image-size", type=int, default=64)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=2, help="rounds of the comparison with torch-fidelity")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--skip-end-to-end", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    sets = [pictures(args.num_images, args.image_size, seed) for seed in (0, 1)]
    print(f"torch {torch.__version__}, {args.threads} threads, {args.num_images} images of {args.image_size} pixels")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        weights = random_inception(folder / "inception.pth")
        inception, lite0 = InceptionFeatures(weights), Lite0FeatureExtractor()
        inception.load()
        lite0.load()
        few_at_a_time("Lite0", lite0, sets[0][:64])
        few_at_a_time("Inception", inception, sets[0][:64])
        accumulating("Lite0", lite0, sets[0], args.batch)
        accumulating("Inception", inception, sets[0], args.batch)
        similarity(sets[0][: args.batch], sets[1][: args.batch])
        if args.skip_end_to_end:
            return
        folders = [write_folder(images, folder / name) for images, name in zip(sets, ("samples", "real"))]
        results = {}

        def run_ours() -> None:
            results["ours"] = ours(inception, folders, args.batch)

        def run_theirs() -> None:
            results["theirs"] = theirs(weights, folders, args.batch)

        # The best of some rounds in turn: another job on the machine slows down one way or the other at a time.
        rounds = [(seconds(run_ours), seconds(run_theirs)) for _ in range(args.rounds)]
    best = [min(way) for way in zip(*rounds)]
    print(
        f"FID + IS + precision + recall of two folders: torch-fidelity {best[1]:.1f} s, ours {best[0]:.1f} s: "
        f"ratio {best[1] / best[0]:.2f}"
    )
    names = {
        "fid": "frechet_inception_distance",
        "is": "inception_score_mean",
        "precision": "precision",
        "recall": "recall",
    }
    for key, name in names.items():
        print(f"  {key:<10} {results['ours'][key]:.6g}  torch-fidelity {results['theirs'][name]:.6g}")


if __name__ == "__main__":
    main()

"""Draw where the held-out pictures of some tokenizers lie, by the first two channels of their first latent token.

    python scripts/latents_figure.py FIGURE RUN …

Above it the mean length of that token as the detokenizer sees it, |W z|, and its deviation in per cent of the mean.
Where all are of one length, the norm in the first block leaves their direction alone, and one channel is lost.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib
import torch

from textok import load_run
from textok.runs.load import load_data

matplotlib.use("Agg")
import matplotlib.pyplot as plt

COUNT = 1000


@torch.no_grad()
def latents_of(folder: Path) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Latents (M, Z) of the first token, labels (M,) and lengths (M,) of the embedded token without its bias."""
    module, data = load_run(folder), load_data(folder)
    data.setup()
    found, labels = [], []
    for batch in data.val_dataloader():
        batch = data.on_after_batch_transfer(batch, 0)
        found.append(module.predict_step(batch, 0)["latents"][:, 0])
        labels.append(batch.label)
        if sum(map(len, labels)) >= COUNT:
            break
    latents = torch.cat(found)[:COUNT]
    lengths = (latents @ module.ema.detokenizer.embed_latents.weight.T).norm(dim=1)
    return latents, torch.cat(labels)[:COUNT], lengths


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("figure", type=Path, help="the PNG to write")
    parser.add_argument("runs", nargs="+", type=Path, help="run folders of tokenizers with two channels or more")
    args = parser.parse_args()
    figure, places = plt.subplots(1, len(args.runs), figsize=(4 * len(args.runs), 4.4), squeeze=False)
    for place, run in zip(places[0], args.runs):
        latents, labels, lengths = latents_of(run)
        place.scatter(latents[:, 0], latents[:, 1], c=labels, cmap="tab10", s=4)
        place.set_aspect("equal", adjustable="datalim")
        spread = 100 * float(lengths.std() / lengths.mean())
        place.set_title(f"{run.parent.name}\n{run.name}\n|W z| {lengths.mean():.1f} ± {spread:.0f} %", fontsize=9)
        print(f"{run}: |W z| {lengths.mean():.1f}, deviation {spread:.0f} % of it")
    figure.savefig(args.figure, dpi=100, bbox_inches="tight")


if __name__ == "__main__":
    main()

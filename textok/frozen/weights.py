"""Where the weights of a frozen network are: a file that was named, or torch's hub folder, filled where it can be."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

# torchvision's ImageNet weights behind LPIPS: where they are, and how lpips calls the network.
BACKBONES = {
    "vgg": "https://download.pytorch.org/models/vgg16-397923af.pth",
    "alex": "https://download.pytorch.org/models/alexnet-owt-7be5be79.pth",
    "squeeze": "https://download.pytorch.org/models/squeezenet1_1-b8a52dc0.pth",
}


def find_weights(name: str, url: str, file: Path | None = None, instead: str = "") -> Path:
    """The file with a network's weights.

    Args:
        name: What needs them, for the message.
        url: Where they are published; fetched into torch's hub folder if they are in neither place.
        file: The file that the user named, if any.
        instead: What else can be done without them, for the message.

    Raises:
        FileNotFoundError: If they are neither on disk nor to be had from the network.
    """
    if file is not None:
        if not file.is_file():
            raise FileNotFoundError(f"{name}: there is no file {file}; it is {url}")
        return file
    path = Path(torch.hub.get_dir(), "checkpoints", Path(url).name)
    if path.is_file():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    prefix = re.search(r"-([0-9a-f]{8,})\.", path.name)
    try:
        torch.hub.download_url_to_file(url, str(path), prefix and prefix.group(1), progress=False)
    except OSError as error:
        raise FileNotFoundError(
            f"{name} needs {path.name}, which is not in {path.parent} and could not be fetched ({error}). "
            f"Copy {url} there, or name the file in `weights`{'; ' + instead if instead else ''}."
        ) from error
    return path


def read_weights(path: Path) -> dict[str, Tensor]:
    """The tensors of a weights' file.

    Raises:
        ValueError: If the file is damaged, or holds anything but tensors.
    """
    try:
        weights = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # what the unpickler makes of garbage depends on the garbage
        raise ValueError(f"{path} is damaged or holds no weights ({type(error).__name__}): fetch it anew") from error
    if not isinstance(weights, dict):
        raise ValueError(f"{path} holds a {type(weights).__name__}, not a state dict")
    return weights


def lpips_network(
    make: Callable[..., nn.Module], net: str, file: Path | None, instead: str = ""
) -> tuple[nn.Module, Path]:
    """LPIPS v0.1 with torchvision's weights in its backbone, and the file they came from.

    lpips would fetch them itself, and says nothing useful where it cannot: it gets them from here.

    Args:
        make: ``lpips.LPIPS``, which takes seconds to import: only who needs it does.
        net: Name of the backbone.
        file: The file that the user named, if any.
        instead: What else can be done without the weights, for the message.

    Raises:
        FileNotFoundError: As ``find_weights``.
        ValueError: If the weights are those of another network.
    """
    path = find_weights(f"LPIPS ({net})", BACKBONES[net], file, instead)
    weights = read_weights(path)
    # Real weights, whatever device is the default. lpips calls torchvision in an old way, at which torchvision warns.
    with torch.device("cpu"), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        network = make(net=net, pnet_rand=True, verbose=False)
    # lpips cuts torchvision's `features` into slices but keeps the layers' numbers.
    wanted = {name: "features." + name.split(".", 1)[1] for name in network.net.state_dict()}
    if {name for name in weights if name.startswith("features.")} != set(wanted.values()):
        raise ValueError(f"{path} does not hold torchvision's weights of {net}")
    network.net.load_state_dict({name: weights[source] for name, source in wanted.items()})
    return network, path

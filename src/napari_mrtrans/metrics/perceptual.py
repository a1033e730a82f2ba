"""LPIPS: distance between what AlexNet sees in two images (Zhang et al. 2018; paper, Eq. 11).

torchmetrics brings the weights of the layers and would take AlexNet from torchvision; its five convolutions stand here.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..errors import MrtransError
from ..paths import alexnet_file, metrics_cache_dir
from .similarity import slices_along

if TYPE_CHECKING:
    from torch import Tensor, nn

ALEXNET_URL = "https://download.pytorch.org/models/alexnet-owt-7be5be79.pth"
#: The smallest side that AlexNet's pooling leaves something of.
SMALLEST_SIDE = 31
_BATCH = 16


class NoSlices(MrtransError):
    """The images have no slice on which LPIPS can be computed."""


def lpips(
    prediction: NDArray,
    target: NDArray,
    mask: NDArray[np.bool_] | None = None,
    *,
    axis: int = 2,
    weights: str | Path | None = None,
) -> float:
    """Learned perceptual distance, mean over the 2-D slices that are not zero in both volumes; 0 for equal images.

    AlexNet sees slices as they lie in the arrays: mirrored or turned ones are some per cent nearer or farther.

    Args:
        prediction: 3-D, [0, 1].
        target: Same shape.
        mask: Same shape; both volumes are set to 0 outside it. None = as they are.
        axis: Array axis that runs across the slices; the third, as in files without orientation.
        weights: torchvision's AlexNet weights (``alexnet-owt-7be5be79.pth``); None = the file that the environment
            variable NAPARI_MRTRANS_ALEXNET names, else downloaded once (244 MB) into the user's cache.

    Raises:
        NoSlices: slices are smaller than 31 pixels or all empty.
        MrtransError: shapes differ or are not 3-D, the mask is empty, or the weights cannot be had.
    """
    import torch

    p, t, inside = slices_along(axis, prediction, target, mask)
    p, t = np.where(inside, p, 0), np.where(inside, t, 0)
    filled = ((p != 0) | (t != 0)).any(axis=(1, 2))
    if min(p.shape[1:]) < SMALLEST_SIDE or not filled.any():
        raise NoSlices(f"LPIPS needs slices of at least {SMALLEST_SIDE} pixels that are not all empty.")
    heads, trunk = _heads(), _trunk(weights)
    total = 0.0
    with torch.inference_mode():
        for chosen in np.array_split(np.flatnonzero(filled), -(-filled.sum() // _BATCH)):
            pairs = zip(_features(trunk, p[chosen]), _features(trunk, t[chosen]), heads, strict=True)
            total += sum(float((head * (a - b).square()).sum(1).mean((1, 2)).sum()) for a, b, head in pairs)
    return total / int(filled.sum())


def _features(trunk: nn.Sequential, images: NDArray[np.float64]) -> list[Tensor]:
    """Activations after each ReLU, of unit length along the channels; images (N, H, W) in [0, 1]."""
    import torch
    from torch import nn
    from torch.nn.functional import normalize

    # ImageNet's mean and standard deviation of each colour, for images in [-1, 1]
    shift = torch.tensor([-0.030, -0.088, -0.188])[:, None, None]
    scale = torch.tensor([0.458, 0.448, 0.450])[:, None, None]
    x = (2 * torch.from_numpy(images).float()[:, None] - 1 - shift) / scale
    features = []
    for layer in trunk:
        x = layer(x)
        if isinstance(layer, nn.ReLU):
            features.append(normalize(x, dim=1))
    return features


def _trunk(weights: str | Path | None) -> nn.Sequential:
    """AlexNet's convolutions, numbered as torchvision's ``features``."""
    from torch import nn

    trunk = nn.Sequential(
        nn.Conv2d(3, 64, 11, stride=4, padding=2), nn.ReLU(), nn.MaxPool2d(3, stride=2),
        nn.Conv2d(64, 192, 5, padding=2), nn.ReLU(), nn.MaxPool2d(3, stride=2),
        nn.Conv2d(192, 384, 3, padding=1), nn.ReLU(),
        nn.Conv2d(384, 256, 3, padding=1), nn.ReLU(),
        nn.Conv2d(256, 256, 3, padding=1), nn.ReLU(),
    )  # fmt: skip
    path = alexnet_file() if weights is None else Path(weights)
    state = _download() if path is None else _read(path)
    convolutions = {key.removeprefix("features."): value for key, value in state.items() if key.startswith("features.")}
    try:
        trunk.load_state_dict(convolutions)
    except RuntimeError:
        raise MrtransError(f"'{path or ALEXNET_URL}' does not hold torchvision's AlexNet; LPIPS needs that.") from None
    return trunk


def _read(path: Path) -> dict[str, Any]:
    import torch

    try:
        return dict(torch.load(path, map_location="cpu", weights_only=True))
    except Exception as error:  # a damaged pickle raises anything
        reason = getattr(error, "strerror", None) or "no weights of torch"
        raise MrtransError(f"Cannot read AlexNet for LPIPS from '{path}' ({reason}); name another file.") from None


def _download() -> dict[str, Any]:
    import torch

    try:
        return torch.hub.load_state_dict_from_url(
            ALEXNET_URL, str(metrics_cache_dir()), "cpu", progress=False, check_hash=True, weights_only=True
        )
    except (OSError, RuntimeError) as error:
        raise MrtransError(
            f"LPIPS is unavailable: AlexNet's weights could not be downloaded ({error}). Get {ALEXNET_URL} "
            "elsewhere and name the file in NAPARI_MRTRANS_ALEXNET."
        ) from None


def _heads() -> list[Tensor]:
    """Learned weight of each channel of each layer (w² in Eq. 11), (1, C, 1, 1) each; a file in torchmetrics."""
    import torch

    spec = find_spec("torchmetrics")  # located, not imported, which takes seconds
    if spec is None or not spec.submodule_search_locations:
        raise MrtransError("LPIPS needs torchmetrics; install it with pip install 'napari-mrtrans[eval]'.")
    path = Path(spec.submodule_search_locations[0]) / "functional" / "image" / "lpips_models" / "alex.pth"
    state = torch.load(path, map_location="cpu", weights_only=True)
    return [state[f"lin{i}.model.1.weight"] for i in range(5)]

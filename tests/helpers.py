"""Small, fast stand-ins: a head that is not a scan, checkpoints that are not trained, a data folder."""

from __future__ import annotations

import itertools
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from napari_mrtrans.checkpoints.card import Card, Grid, Intensity, SamplerDefaults
from napari_mrtrans.checkpoints.checkpoint import Checkpoint, read_checkpoint
from napari_mrtrans.scan.contrasts import Contrast, Pair
from napari_mrtrans.scan.framing import Framing
from napari_mrtrans.scan.intensity import HEADROOM

if TYPE_CHECKING:
    import pytest

PAIRS = [
    Pair(a, b)
    for a in (Contrast.T1, Contrast.T2, Contrast.FLAIR)
    for b in (Contrast.T1, Contrast.T2, Contrast.FLAIR)
    if a != b
]
#: Of the heads below, which would be lost in the frames of real ones.
SMALL_FRAME = Framing(rows=32, columns=32)
TINY = {"widths": [8, 16], "blocks": 1, "unshuffle": 2, "groups": 4}

#: What a family needs besides or instead of a tiny U-Net.
OPTIONS: dict[str, dict[str, object]] = {
    "cgan": {"latent": 8, "critic_grid": 1, "critic_width": 4},
    "resvit": {
        "network": {
            "width": 4, "blocks": 3, "transformer_blocks": [1, 3], "hidden": 16, "depth": 2, "heads": 2, "mlp": 32,
            "grid": [2, 2],
        },
        "critic_width": 4,
    },
}  # fmt: skip

RAS = np.diag([1.0, 1.0, 1.0, 1.0])


def head(shape: tuple[int, int, int] = (40, 48, 20), seed: int = 0) -> NDArray[np.float32]:
    """An ellipsoid of textured tissue in exact zeros, in scanner-like units (hundreds), axes (R, A, S)."""
    grids = np.meshgrid(*(np.linspace(-1, 1, n) for n in shape), indexing="ij")
    inside = sum((g / 0.8) ** 2 for g in grids) < 1
    rng = np.random.default_rng(seed)
    tissue = 300 + 100 * np.sin(4 * grids[0]) * np.cos(3 * grids[1]) + 60 * grids[2] + 10 * rng.standard_normal(shape)
    return np.where(inside, tissue, 0).astype(np.float32)


def turned_head(shape: tuple[int, int, int] = (40, 48, 40)) -> NDArray[np.float32]:
    """A whole head where voxels are 6 mm: noise in the air, but in the corners, which were turned in and are 0."""
    grids = np.meshgrid(*(np.linspace(-1, 1, n) for n in shape), indexing="ij")
    noise = np.random.default_rng(1).uniform(2, 9, shape).astype(np.float32)
    return np.where(sum(g**2 for g in grids) < 1.5, np.maximum(head(shape), noise), 0).astype(np.float32)


def tiny_model(family: str = "flow", seed: int = 0, **more: object):
    """An untrained model whose output layers are random rather than zero, so that it depends on its input."""
    import torch

    from napari_mrtrans.models import build

    torch.manual_seed(seed)
    options: dict[str, object] = {"network": TINY, "conditional": True, **OPTIONS.get(family, {}), **more}
    model = build(family, options)
    for parameter in model.parameters():
        if parameter.dim() == 4 and not parameter.any():
            torch.nn.init.normal_(parameter, std=0.05)
    return model, options


def tiny_checkpoint(
    path: Path,
    family: str = "flow",
    *,
    pairs: list[Pair] | None = None,
    name: str | None = None,
    seed: int = 0,
    neighbours_mm: float = 0.0,
    latent_form: str = "",
    **card: object,
) -> Checkpoint:
    """Write an untrained checkpoint that serves ``pairs`` (default: all six of T1, T2, FLAIR)."""
    from napari_mrtrans.checkpoints.checkpoint import write_checkpoint

    more = {"neighbours_mm": neighbours_mm, "latent_form": latent_form}
    more = {name: value for name, value in more.items() if value}
    model, options = tiny_model(family, seed, **more)
    document = {
        "name": name or path.stem,
        "model": family,
        "options": options,
        "pairs": PAIRS if pairs is None else pairs,
        "grid": Grid(),
        "intensity": Intensity(headroom=HEADROOM),
        "sampler": SamplerDefaults(steps=3, n=4),
        "framing": SMALL_FRAME,
        **card,
    }
    return read_checkpoint(write_checkpoint(path, model, Card(**document)))


def save_nifti(path: Path, data: NDArray, affine: NDArray = RAS) -> Path:
    """Write an array as NIfTI."""
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.Nifti1Image(data, affine).to_filename(path)
    return path


def close_folder(patch: pytest.MonkeyPatch, folder: Path) -> None:
    """As a colleague's folder of mode 700 is, also to root."""
    scandir = os.scandir

    def refuse(path: Any = ".") -> Any:
        if not isinstance(path, int) and Path(path) == folder:
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    patch.setattr(os, "scandir", refuse)


def bids_folder(
    root: Path, subjects: int = 4, shape: tuple[int, int, int] = (40, 48, 20), affine: NDArray = RAS
) -> Path:
    """Subjects with T1w, T2w and FLAIR that are known functions of one another."""
    for i in range(subjects):
        t1 = head(shape, seed=i)
        contrasts = {"T1w": t1, "T2w": np.where(t1 > 0, 700 - t1, 0), "FLAIR": np.where(t1 > 0, 200 + 0.5 * t1, 0)}
        for suffix, data in contrasts.items():
            save_nifti(root / f"sub-{i:02}" / "anat" / f"sub-{i:02}_{suffix}.nii.gz", data.astype(np.float32), affine)
    return root


def planted_row(method: str, pair: str = "T1→T2", subject: str = "sub-1", **figures: object):
    """A row of the evaluation whose figures are 0.5 unless they are given."""
    from dataclasses import MISSING, fields

    from napari_mrtrans.evaluation.row import Row

    plain = {f.name: 0.5 for f in fields(Row) if f.default is MISSING}
    return Row(**plain | {"method": method, "pair": pair, "subject": subject, "slices": 11} | figures)


def planted_about(*checkpoints: tuple[str, str, list[str]], **other: object) -> dict[str, object]:
    """How planted rows were obtained; checkpoints as (name, model, data sets it was trained on)."""
    cards = [dict(zip(("name", "model", "trained_on"), c, strict=True)) for c in checkpoints]
    settings = {"n": 4, "steps": None, "slab": 11, "seed": 0, "left_out": []}
    made = {"date": "2026-11-24", "machine": "a machine", "torch": "2"}
    return {**settings, **made, "checkpoints": cards, **other}


def spoil(patch: pytest.MonkeyPatch, *calls: int) -> None:
    """Whatever network is loaded from now on gives NaN in its last sample, in these of its calls (from 0)."""
    build = Checkpoint.build

    def spoiled(self: Checkpoint, device: Any = "cpu") -> Any:
        model, count = build(self, device), itertools.count()
        sample = model.sample

        def answer(*arguments: Any) -> Any:
            out = sample(*arguments)
            if next(count) in calls:
                out[-1, -1, out.shape[2] // 2, out.shape[3] // 2] = float("nan")
            return out

        model.sample = answer
        return model

    patch.setattr(Checkpoint, "build", spoiled)

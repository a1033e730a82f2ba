"""Held-out slices are judged as they are delivered: on the scan's own voxels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from helpers import bids_folder, tiny_checkpoint
from napari_mrtrans.adaptation.figures import Judge
from napari_mrtrans.adaptation.own_voxels import own_voxels
from napari_mrtrans.adaptation.slices import View, fixed
from napari_mrtrans.checkpoints.card import SamplerDefaults
from napari_mrtrans.datasets.bids import Session
from napari_mrtrans.datasets.store import Source
from napari_mrtrans.models import Model
from napari_mrtrans.scan.contrasts import Contrast, Pair
from napari_mrtrans.scan.framing import Framing
from napari_mrtrans.scan.grid import Orientation
from napari_mrtrans.scan.volume import Volume
from napari_mrtrans.transformation.streaming import stream

PAIR = Pair.parse("T1->T2")
SLICE = 9
CPU = torch.device("cpu")


def opened(folder: Path, voxel: float) -> tuple[Session, Source]:
    """A session of a textured head with voxels of so many mm in the slice."""
    anat = bids_folder(folder, 1, (60, 70, 20), np.diag([voxel, voxel, 3.0, 1.0])) / "sub-00" / "anat"
    session = Session("sub-00", "", {c: anat / f"sub-00_{c}w.nii.gz" for c in PAIR}, None)
    return session, Source((session,), 1.0, folder / "cache")


def looked_at(source: Source, view: View):
    chosen = fixed(source, [(0, np.array([SLICE]))], [PAIR], 1, view)
    return chosen[0][1], own_voxels(source, chosen, view)[0]


@pytest.mark.parametrize(("voxel", "least", "most"), [(0.6, 2e-5, 1e-3), (0.8, 2e-5, 1e-3), (1.0, 0.0, 1e-6)])
def test_what_a_finer_scan_shows_beyond_the_model_s_pixels_is_an_error(
    voxel: float, least: float, most: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No answer is better than the target as the model's pixels have it."""
    _, source = opened(tmp_path, voxel)
    one, own = looked_at(source, View(Framing(rows=64, columns=64), 8))
    monkeypatch.setattr(Judge, "answer", lambda *_: one.target[None])
    model: Model = None  # type: ignore[assignment]  # nothing asks it
    judged, answer = Judge(CPU, SamplerDefaults()).judge(model, one, own, 1)
    assert least <= judged.square <= most
    assert np.array_equal(answer.mean, one.target)


@pytest.mark.parametrize("voxel", [0.7, 1.0, 1.4])
def test_the_error_is_that_of_the_result(voxel: float, tmp_path: Path) -> None:
    """What transforming the scan gives, beside its target."""
    session, source = opened(tmp_path, voxel)
    made = tiny_checkpoint(tmp_path / "tiny.safetensors", "direct", pairs=[PAIR])
    model = made.build()
    one, own = looked_at(source, View(made.card.framing, model.multiple, model.neighbours_mm))
    judged, _ = Judge(CPU, made.card.sampler).judge(model, one, own, 1)
    volume = Volume.load(session.files[Contrast.T1])
    slab = (SLICE, SLICE + 1)
    (update,) = stream(volume, made, target="T2", slices=slab, prepare=False)
    assert volume.axial_axis == 2 and Orientation.from_affine(volume.affine).slice_index(SLICE, 20) == SLICE
    shown = Orientation.from_affine(volume.affine).to_canonical(update.mean[:, :, None])[0]
    inside = (own.source > 0) & (own.target > 0)
    assert judged.square == pytest.approx(float(np.square(own.target - shown)[inside].mean()), rel=0.02)

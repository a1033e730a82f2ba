"""Slices that were finished before a run ended, kept for the next one."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from helpers import RAS, head
from napari_mrtrans.ood.signs import UNKNOWN
from napari_mrtrans.scan.volume import Volume
from napari_mrtrans.transformation.slice_update import SliceUpdate
from napari_mrtrans.transformation.unfinished import Unfinished, finished


def update(value: float) -> SliceUpdate:
    image = np.full((4, 5), value, dtype=np.float32)
    return SliceUpdate(
        index=3,
        mean=image,
        std=image,
        median=None,
        samples=None,
        sigma_hat=value,
        signs=UNKNOWN,
        voxels=20,
        done=1,
        total=2,
    )


def test_two_runs_into_one_folder_do_not_mix_their_slices(tmp_path: Path) -> None:
    """Each its own model, begun one after the other, and both killed."""
    first, second = (Unfinished(tmp_path / "a_T2.json", key) for key in ("one model", "another"))
    assert first.read() == {}
    first.write(update(0.25))
    assert second.read() == {}
    first.write(update(0.25))
    second.write(update(0.75))
    (kept,) = Unfinished(tmp_path / "a_T2.json", "one model").read().values()
    assert kept.sigma_hat == 0.25 and (kept.mean == 0.25).all()
    first.remove()
    assert list(tmp_path.iterdir()) == []


def test_a_result_with_an_empty_file_is_not_finished(tmp_path: Path) -> None:
    """As a machine leaves it whose power failed."""
    volume, record = Volume(head((8, 8, 8)), RAS, name="a"), tmp_path / "a_T2.json"
    info = {"key": "k-h", "complete": True, "samples_kept": False, "sigma_hat_calibrated": None, "target": "T2"}
    record.write_text(json.dumps(info))
    images = [tmp_path / f"a_T2_{kind}.nii.gz" for kind in ("mean", "std")]
    for path in images:
        path.write_bytes(b"voxels")
    assert finished(record, "k", volume) == [*images, record]
    images[1].write_bytes(b"")
    assert finished(record, "k", volume) is None


def test_slices_of_another_brain_are_dropped(tmp_path: Path) -> None:
    """A tool was installed since the run was stopped."""
    for found, there in (("built-in", 0), ("built-in", 1), ("hd-bet", 0), ("built-in", 0)):
        store = Unfinished(tmp_path / "a_T2.json", "one model")
        store.keep_to(found)
        assert len(store.read()) == there
        store.write(update(0.25))

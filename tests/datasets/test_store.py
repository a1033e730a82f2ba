"""Decoded scans and the cache that they are kept in."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np

from helpers import bids_folder, save_nifti
from napari_mrtrans.datasets.readers import read_folder
from napari_mrtrans.datasets.store import Source, decode


def test_scans_that_were_corrected_are_read_anew_and_a_damaged_cache_heals(tmp_path: Path) -> None:
    folder, cache = bids_folder(tmp_path / "data", 1, (24, 26, 10)), tmp_path / "cache"

    def mean() -> float:
        source = Source(tuple(read_folder(folder, "bids").sessions), 1.0, cache)
        return float(source[0].images[1].astype(np.float64).mean())

    first = mean()
    t2 = folder / "sub-00" / "anat" / "sub-00_T2w.nii.gz"
    image = nib.load(t2)
    data = np.asarray(image.dataobj) ** 2
    save_nifti(t2, data, image.affine)
    second = mean()
    assert second != first
    for file in cache.iterdir():
        file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    assert mean() == second
    for file in cache.glob("*.npy"):
        file.unlink()
    assert mean() == second


def test_a_computed_pd_is_of_its_session_whoever_came_first(tmp_path: Path) -> None:
    session = replace(read_folder(bids_folder(tmp_path / "data", 1, (24, 26, 10)), "bids").sessions[0], pd_seed=1)
    other = replace(session, subject=f"glioma/{session.subject}")
    alone = decode(other, 1.0, tmp_path / "a").images[:]
    decode(session, 1.0, tmp_path / "b")
    np.testing.assert_array_equal(decode(other, 1.0, tmp_path / "b").images[:], alone)

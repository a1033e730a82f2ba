"""Volumes of an evaluation."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from helpers import bids_folder, save_nifti, tiny_checkpoint, turned_head
from napari_mrtrans.datasets.bids import Session
from napari_mrtrans.errors import RecipeError
from napari_mrtrans.evaluation.calibrate import calibrate
from napari_mrtrans.evaluation.held_out import PairedVolumes
from napari_mrtrans.scan.contrasts import Contrast, Pair
from napari_mrtrans.scan.prepared import PreparedVolume


def test_a_whole_head_is_measured_on_the_scale_on_which_it_is_transformed(tmp_path: Path) -> None:
    files = {contrast: tmp_path / f"sub-1_{contrast}w.nii.gz" for contrast in (Contrast.T1, Contrast.T2)}
    for path in files.values():
        save_nifti(path, turned_head(), np.diag([5.0, 5, 5, 1]))
    opened = PairedVolumes.open(Session("sub-1", "", files, None), Pair.parse("T1->T2"))
    prepared = PreparedVolume.of(opened.volume)
    assert prepared.whole
    np.testing.assert_array_equal(opened.head, prepared.head)
    np.testing.assert_array_equal(opened.source, prepared.normalised(Contrast.T1))
    np.testing.assert_array_equal(opened.target, prepared.normalised(Contrast.T2))


def test_a_calibration_is_not_told_to_name_other_subjects(tmp_path: Path) -> None:
    """It is fitted to those that the checkpoint knows, and has no option for others."""
    bids_folder(tmp_path / "mine", 2, (12, 14, 6))
    foreign = tiny_checkpoint(tmp_path / "x.safetensors", splits={"train": ["a/sub-00"], "validation": ["b/sub-1"]})
    line = r"with the subjects of 'x', is not there; give the folder it was trained with\.$"
    with pytest.raises(RecipeError, match=line):
        calibrate(tmp_path / "mine", foreign, tmp_path / "out")

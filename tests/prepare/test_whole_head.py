from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from helpers import RAS, head
from napari_mrtrans.datasets.sessions import find_sessions
from napari_mrtrans.errors import MrtransError
from napari_mrtrans.prepare.whole_head import GIVEN, STRIPPED, fit_for_models, prepare_volume
from napari_mrtrans.scan.volume import Volume


def test_a_stripped_brain_is_left_as_it_is(tmp_path: Path) -> None:
    volume = Volume(head(), RAS, name="brain")
    said: list[str] = []
    prepared = fit_for_models(volume, None, None, said.append)
    assert prepared.volume is volume and not said
    np.testing.assert_array_equal(prepared.data, volume.data)
    np.testing.assert_array_equal(prepared.head, volume.data > 0)
    assert prepare_volume(volume, bias=False, cache=tmp_path).method == STRIPPED


def test_a_given_mask_is_taken(tmp_path: Path) -> None:
    volume = Volume(head() + 5, RAS, name="head")
    mask = volume.data > 6
    prepared = prepare_volume(volume, mask=mask, bias=False, cache=tmp_path)
    assert prepared.method == GIVEN and np.array_equal(prepared.mask, mask)
    np.testing.assert_array_equal(prepared.volume.data, np.where(mask, volume.data, 0))


def test_a_mask_of_another_shape_is_refused() -> None:
    with pytest.raises(MrtransError, match="they must lie on one grid"):
        fit_for_models(Volume(head(), RAS, name="head"), np.ones((2, 2, 2)), True, print)


def test_files_of_one_session_are_told_by_their_names(tmp_path: Path) -> None:
    names = ("sub-07_ses-2_T1w.nii.gz", "sub-07_ses-2_FLAIR.nii.gz")
    for name in names:
        (tmp_path / name).touch()
    (session,) = find_sessions([tmp_path / name for name in names])
    assert (session.stem, len(session.files)) == ("sub-07_ses-2", 2)


@pytest.mark.parametrize(
    ("names", "line"),
    [
        (["a_T1w.nii.gz", "b_T1w.nii.gz"], "are both T1; give one of each contrast"),
        (["scan.nii.gz"], "contrast of 'scan.nii.gz' is not known"),
    ],
)
def test_bad_sessions_are_named(tmp_path: Path, names: list[str], line: str) -> None:
    for name in names:
        (tmp_path / name).touch()
    with pytest.raises(MrtransError, match=line):
        find_sessions([tmp_path / name for name in names])
    with pytest.raises(MrtransError, match="holds no BIDS scans"):
        find_sessions([tmp_path])
    with pytest.raises(MrtransError, match="does not exist"):
        find_sessions([tmp_path / "nowhere"])

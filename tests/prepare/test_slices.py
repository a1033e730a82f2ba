"""Which DICOM series make one session."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dicom_files import MPRAGE, dicom_series
from napari_mrtrans.errors import MrtransError
from napari_mrtrans.prepare.slices import session_of_slices
from napari_mrtrans.scan.contrasts import Contrast

DATA = np.random.default_rng(0).integers(1, 1000, (7, 6, 12)).astype(np.uint16)
T1 = {f"t{tag.replace('|', '_')}": value for tag, value in MPRAGE.items()}
T2 = {"t0008_103e": "t2_tse_tra", "t0018_0020": "SE", "t0018_0080": "5000", "t0018_0081": "95"}
ADA = {"t0010_0010": "LOVELACE^ADA", "t0010_0020": "1815", "t0008_0020": "18330605"}


def folders(root: Path, one: dict[str, str], other: dict[str, str]) -> list[Path]:
    """A series each."""
    dicom_series(root / "a" / "t1", DATA, np.eye(4), uid="1.2.3.1", **(T1 | one))
    dicom_series(root / "b" / "t2", DATA, np.eye(4), uid="1.2.3.2", **(T2 | other))
    return [root / "a", root / "b"]


@pytest.mark.parametrize(
    ("one", "other"),
    [({}, {}), (ADA, ADA), (ADA | {"t0020_000d": "1.2.7"}, ADA | {"t0020_000d": "1.2.8"})],
    ids=["one study", "one study of a person", "two studies of a person on a day"],
)
def test_series_of_one_visit(one: dict[str, str], other: dict[str, str], tmp_path: Path) -> None:
    for inputs in (folders(tmp_path, one, other), [tmp_path]):
        (session,), _ = session_of_slices(inputs)
        assert [*session.files] == ["T1", "T2"]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"t0008_0020": "18330605"},) * 2,
        ({"t0010_0010": "Anonymous", "t0008_0020": "18330605"},) * 2,
        ({name: value for name, value in ADA.items() if name != "t0008_0020"},) * 2,
        (ADA, ADA | {"t0008_0020": "18330606"}),
    ],
    ids=["no name", "anonymous", "no date", "another day"],
)
def test_series_of_two_studies_are_no_session(one: dict[str, str], other: dict[str, str], tmp_path: Path) -> None:
    for inputs in (folders(tmp_path, one | {"t0020_000d": "1.2.7"}, other | {"t0020_000d": "1.2.8"}), [tmp_path]):
        with pytest.raises(MrtransError) as caught:
            session_of_slices(inputs)
        assert str(caught.value) == (
            f"The series 3 t1_mprage_sag (T1, 12 slices) in '{tmp_path / 'a' / 't1'}' and 3 t2_tse_tra (T2, 12 slices) "
            f"in '{tmp_path / 'b' / 't2'}' are of two studies, and nothing tells that these are of one person and day; "
            "give the series of one study. If they are, convert them with dcm2niix and give the NIfTI files."
        )


def test_series_of_two_people_are_no_session(tmp_path: Path) -> None:
    with pytest.raises(MrtransError, match=r"^The series are of several people; give those of one person\.$"):
        session_of_slices(folders(tmp_path, ADA, ADA | {"t0010_0020": "1816"}))


def test_a_file_tells_which_echo_is_meant(tmp_path: Path) -> None:
    late = [dicom_series(tmp_path, DATA, np.eye(4), first=50 * k, **{**T1, "t0018_0081": f"{k}"}) for k in (1, 2)][1]
    with pytest.raises(
        MrtransError, match=r"^The series .*TE \d ms.* and .*TE \d ms.* are both T1; give the folders, or"
    ):
        session_of_slices([tmp_path])
    (session,), notices = session_of_slices([late[4]])
    assert session.files[Contrast.T1] in late and notices == []


def test_a_damaged_series_is_not_left_out_without_a_word(tmp_path: Path) -> None:
    paths = dicom_series(tmp_path / "t1", DATA, np.eye(4), uid="1.2.3.1", **T1)
    dicom_series(tmp_path / "t2", DATA, np.eye(4), uid="1.2.3.2", **T2)
    paths[-1].write_bytes(paths[-1].read_bytes()[:-60])
    (session,), (line,) = session_of_slices([tmp_path])
    assert [*session.files] == ["T2"]
    assert line.startswith(
        "Series 3 t1_mprage_sag (T1, 11 slices, 1 file that cannot be read) left out: has 1 of 12 fi"
    )
    with pytest.raises(MrtransError, match="has 1 of 12 files that cannot be read"):
        session_of_slices([tmp_path / "t1"])

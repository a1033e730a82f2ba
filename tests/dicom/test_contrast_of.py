from __future__ import annotations

from pathlib import Path

import pytest

from napari_mrtrans.dicom.contrast_of import by_timing, guess, other_kind
from napari_mrtrans.dicom.header import Header
from napari_mrtrans.scan.contrasts import Contrast

#: SeriesDescription, and what it shows.
NAMED = {
    "t1_mprage_sag_p2_iso": "T1", "Ax T2 FSE": "T2", "SAG CUBE T2 FLAIR": "FLAIR", "t2_tirm_tra_dark-fluid": "FLAIR",
    "3D T1 TFE": "T1", "PD TSE tra": "PD", "Sag T1 FLAIR": "T1", "AX T1 POST GAD": None, "t1_mprage +C": None,
    "t2_swi_tra": None, "T1 map": None, "t2*_fl2d": None, "ep2d_diff_b1000_ADC": None, "TOF_3D": None,
    "AX DWI": None, "t2_stir_sag": None, "localizer": None, "AX T2 W/FAT SAT": "T2",
}  # fmt: skip
#: Scanning sequence, variant, TR, TE, TI in ms: as on scanners of 1.5 and 3 T.
TIMED = [
    ("GR\\IR", "SP\\MP", 2300, 2.98, 900, "T1"),  # Siemens MPRAGE
    ("GR", "SP", 8.2, 3.2, 450, "T1"),  # GE BRAVO
    ("GR", "SP", 25, 4.6, 0, "T1"),  # spoiled gradient echo
    ("SE", "", 500, 12, 0, "T1"),
    ("SE\\IR", "SK", 2000, 10, 800, "T1"),  # T1 FLAIR
    ("SE", "SK", 4500, 100, 0, "T2"),
    ("SE", "SK", 3200, 380, 0, "T2"),  # SPACE
    ("SE", "SK", 3000, 15, 0, "PD"),
    ("SE\\IR", "SK", 9000, 120, 2500, "FLAIR"),
    ("SE\\IR", "SK", 5000, 390, 1800, "FLAIR"),  # three-dimensional
    ("SE\\IR", "SK", 4500, 60, 160, None),  # STIR
    ("GR", "SS", 5.4, 2.6, 0, None),  # steady state
    ("GR", "SP", 600, 20, 0, None),  # T2*
    ("EP", "SK", 3000, 80, 0, None),
    ("SE", "SK", 1500, 50, 0, None),  # neither one nor another
]


def header(**tags: str) -> Header:
    return Header(Path("slice"), {name[1:].replace("_", "|"): value for name, value in tags.items()})


@pytest.mark.parametrize("words", NAMED)
def test_words_tell(words: str) -> None:
    found, where = guess(header(t0008_103e=words))
    assert found == NAMED[words]
    assert where == ("its SeriesDescription" if found else "")


@pytest.mark.parametrize("row", TIMED, ids=lambda row: "-".join(map(str, row[:5])))
def test_timing_tells(row: tuple[str, str, float, float, float, str | None]) -> None:
    kinds, variant, repetition, echo, inversion, expected = row
    tags = {"t0018_0020": kinds, "t0018_0021": variant, "t0018_0080": f"{repetition}", "t0018_0081": f"{echo}"}
    told = header(**tags, t0018_0082=f"{inversion}" if inversion else "", t0008_103e="head axial")
    assert by_timing(told) == expected
    assert guess(told)[0] == expected


def test_words_come_before_timing() -> None:
    timing = {"t0018_0020": "SE", "t0018_0080": "5000", "t0018_0081": "95"}
    assert guess(header(t0008_103e="T1 tse", **timing)) == (Contrast.T1, "its SeriesDescription")
    assert guess(header(t0018_1030="flair tra", **timing)) == (Contrast.FLAIR, "its ProtocolName")
    assert guess(header(t0018_0024="*tfl3d1_16ns", t0008_103e="sag")) == (None, "")
    assert guess(header(**timing)) == (Contrast.T2, "its timing (SE, TR 5000 ms, TE 95 ms)")


def test_a_contrast_agent_makes_no_plain_t1() -> None:
    assert guess(header(t0008_103e="t1_tse", t0018_0010="Gadovist")) == (None, "")
    assert guess(header(t0008_103e="t2_tse", t0018_0010="Gadovist"))[0] is Contrast.T2
    for none in ("NONE", "No contrast", "N/A"):
        assert guess(header(t0008_103e="t1_tse", t0018_0010=none))[0] is Contrast.T1
    short = {"t0018_0020": "SE", "t0018_0080": "500", "t0018_0081": "12"}
    assert guess(header(t0008_103e="AX POST GAD", **short)) == (None, "")


def test_angiography_and_phase_are_other_kinds() -> None:
    assert other_kind(header(t0018_0025="Y")) == "angiography"
    assert other_kind(header(t0008_0008="ORIGINAL\\PRIMARY\\P\\ND")) == "p"
    assert other_kind(header(t0008_0008="ORIGINAL\\PRIMARY\\M\\ND", t0008_103e="head")) == ""
    assert by_timing(header(t0018_0020="SE", t0018_0080="soon", t0018_0081="12")) is None

from __future__ import annotations

import json
import shutil
import unicodedata
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from scipy.spatial.transform import Rotation

from dicom_files import MPRAGE, dicom_series
from helpers import close_folder, save_nifti
from napari_mrtrans.dicom import files as dicom_files_room
from napari_mrtrans.dicom.charset import decoded
from napari_mrtrans.dicom.files import FILES, is_dicom
from napari_mrtrans.dicom.read import all_slices, brains_at, read_scan, read_stack
from napari_mrtrans.errors import VolumeError
from napari_mrtrans.scan.contrasts import Contrast

OBLIQUE = np.eye(4)
OBLIQUE[:3, :3] = Rotation.from_euler("xyz", [10, 20, 30], degrees=True).as_matrix() @ np.diag([-1.2, -0.9, 2.0])
OBLIQUE[:3, 3] = [10, 20, -30]
DATA = np.random.default_rng(0).integers(1, 1000, (7, 6, 12)).astype(np.uint16)
T2 = {"t0008_103e": "t2_tse_tra", "t0018_0020": "SE", "t0018_0080": "5000", "t0018_0081": "95"}
MPR = {f"t{tag.replace('|', '_')}": value for tag, value in MPRAGE.items()}


def test_voxels_lie_where_the_slices_say(tmp_path: Path) -> None:
    """To RAS from LPS, oblique, slices in any order of their files' names."""
    dicom_series(tmp_path / "head", DATA, OBLIQUE, **MPR)
    volume = read_scan(tmp_path / "head")
    np.testing.assert_allclose(volume.affine, OBLIQUE, atol=2e-4)
    np.testing.assert_array_equal(volume.data, DATA)
    assert (volume.contrast, volume.name, volume.path) == (Contrast.T1, "head_T1w", tmp_path / "head")
    assert volume.notices == ("'head_T1w' was taken as T1, by its SeriesDescription.",)


def test_slices_have_factors_of_their_own(tmp_path: Path) -> None:
    """Philips gives each slice its own: half of these would be cut to whole numbers."""
    dicom_series(tmp_path, DATA[..., :6], OBLIQUE, t0028_1052="-3", t0028_1053="2")
    upper = OBLIQUE.copy()
    upper[:3, 3] += 6 * OBLIQUE[:3, 2]
    dicom_series(tmp_path, DATA[..., 6:], upper, first=6, t0028_1052="-3", t0028_1053="0.25")
    expected = DATA * np.repeat([2, 0.25], 6) - 3
    np.testing.assert_allclose(read_scan(tmp_path, "T1").data, expected, rtol=1e-6)


def test_one_slice_stands_for_its_series(tmp_path: Path) -> None:
    dicom_series(tmp_path, DATA, OBLIQUE, uid="1.2.3.1", **MPR)
    file = dicom_series(tmp_path, DATA[..., ::-1], OBLIQUE, uid="1.2.3.2", first=50, **T2)[3]
    volume = read_scan(file)
    np.testing.assert_array_equal(volume.data, DATA[..., ::-1])
    assert (volume.contrast, volume.path) == (Contrast.T2, file)
    assert read_scan(file, "PD").contrast is Contrast.PD  # the user knows better


def test_the_only_brain_of_a_study_is_taken(tmp_path: Path) -> None:
    """Below the folder, beside a localizer, diffusion, and a reformatted copy."""
    dicom_series(tmp_path / "1", DATA[..., :3], OBLIQUE, uid="1.2.3.1", t0008_103e="3-plane", t0020_0011="1")
    dicom_series(tmp_path / "2", DATA, OBLIQUE, uid="1.2.3.2", **MPR)
    dicom_series(tmp_path / "3", DATA, OBLIQUE, uid="1.2.3.3", t0008_103e="ep2d_diff_b1000", t0020_0011="4")
    derived = MPR | {"t0008_0008": "DERIVED\\SECONDARY\\MPR", "t0020_0011": "5"}
    dicom_series(tmp_path / "4", DATA, OBLIQUE, uid="1.2.3.4", **derived)
    volume = read_scan(tmp_path)
    assert (volume.name, volume.contrast) == ("2_T1w", Contrast.T1)
    assert volume.notices[-1] == (
        "Of 4 series, 3 t1_mprage_sag (T1, 12 slices) was taken; left out: 1 3-plane (localizer, 3 slices); "
        "4 ep2d_diff_b1000 (ep2d_diff_b1000, 12 slices); 5 t1_mprage_sag (T1, 12 slices)."
    )


def test_several_brains_are_named_and_the_contrast_chooses(tmp_path: Path) -> None:
    dicom_series(tmp_path, DATA, OBLIQUE, uid="1.2.3.1", **MPR)
    dicom_series(tmp_path, DATA, OBLIQUE, uid="1.2.3.2", first=50, t0020_0011="7", **T2)
    with pytest.raises(VolumeError) as caught:
        read_scan(tmp_path)
    assert str(caught.value) == (
        f"'{tmp_path}' holds several series: 3 t1_mprage_sag (T1, 12 slices); 7 t2_tse_tra (T2, 12 slices). Give its "
        "contrast (--from), or the folder or a file of the one you mean."
    )
    assert read_scan(tmp_path, "T2").contrast is Contrast.T2
    with pytest.raises(VolumeError, match="holds no FLAIR, only 3 t1_mprage_sag"):
        read_scan(tmp_path, "FLAIR")
    assert [stack.contrast for stack in brains_at(tmp_path)] == [Contrast.T1, Contrast.T2]


def test_two_echoes_are_two_volumes(tmp_path: Path) -> None:
    dual = {"t0008_103e": "PD/T2 dual", "t0018_0020": "SE", "t0018_0080": "3000"}
    dicom_series(tmp_path, DATA, OBLIQUE, **dual, t0018_0081="15")
    dicom_series(tmp_path, DATA[..., ::-1], OBLIQUE, first=50, **dual, t0018_0081="90")
    late = read_scan(tmp_path, "T2")
    np.testing.assert_array_equal(late.data, DATA[..., ::-1])
    early, second = (read_stack(stack, tmp_path) for stack in brains_at(tmp_path))
    np.testing.assert_array_equal(early.data, DATA)
    assert (early.contrast, second.contrast) == (Contrast.PD, Contrast.T2)
    assert "by its timing (SE, TR 3000 ms, TE 15 ms)" in early.notices[0]


REFUSED = {
    "CT": ({"t0008_0060": "CT"}, "is of modality CT, not MR; give another series."),
    "enhanced": ({"t0008_0016": "1.2.840.10008.5.1.4.1.1.4.1"}, "is multi-frame (enhanced) DICOM; convert it"),
    "frames": ({"t0028_0008": "12"}, "is multi-frame (enhanced) DICOM; convert it"),
    "no place": ({"t0020_0032": ""}, "does not say where its slices lie; convert it with dcm2niix."),
    "no size": ({"t0028_0030": ""}, "does not say how large its pixels are; export the series again, or convert"),
    "compressed": ({"syntax": "1.2.840.10008.1.2.4.201"}, "is DICOM that SimpleITK cannot read: damaged, or"),
}  # fmt: skip


@pytest.mark.parametrize("kind", REFUSED)
def test_what_cannot_be_used_is_refused_in_a_line(tmp_path: Path, kind: str) -> None:
    tags, expected = REFUSED[kind]
    dicom_series(tmp_path, DATA, OBLIQUE, **(MPR | tags))
    with pytest.raises(VolumeError) as caught:
        read_scan(tmp_path)
    assert expected in str(caught.value) and "\n" not in str(caught.value)


def test_pixels_that_cannot_be_decoded(tmp_path: Path) -> None:
    for path in dicom_series(tmp_path, DATA, OBLIQUE, **MPR):
        path.write_bytes(path.read_bytes()[:-60])
    with pytest.raises(VolumeError, match="damaged, or compressed"):
        read_scan(tmp_path)


def _spoil(folder: Path, how: str) -> str:
    paths = dicom_series(folder, DATA, OBLIQUE, **MPR)
    match how:
        case "gap":
            paths[5].unlink()
            return "has slices 2 to 4 mm apart: some are missing or do not belong to it; export the series again."
        case "twice":
            dicom_series(folder, DATA, OBLIQUE, first=50, **MPR)
            return "holds several images of every slice, a time series perhaps"
        case "planes":
            turned = OBLIQUE[:, [2, 0, 1, 3]]
            dicom_series(folder, DATA, turned, first=50, **MPR)
            return "is a localizer or a mixture: its slices lie in several planes"
        case "sizes":
            upper = OBLIQUE.copy()
            upper[:3, 3] += 12 * OBLIQUE[:3, 2]
            dicom_series(folder, DATA[:5], upper, first=50, **MPR)
            return "is a mixture: its slices are of several sizes"
        case _:
            for path in paths[3:]:
                path.unlink()
            return "is a localizer or a single picture, with 3 slices; give the whole series."


@pytest.mark.parametrize("how", ["gap", "twice", "planes", "sizes", "localizer"])
def test_slices_that_make_no_volume(tmp_path: Path, how: str) -> None:
    expected = _spoil(tmp_path, how)
    with pytest.raises(VolumeError) as caught:
        read_scan(tmp_path)
    assert expected in str(caught.value)


def test_none_of_several_is_a_brain(tmp_path: Path) -> None:
    dicom_series(tmp_path, DATA, OBLIQUE, uid="1.2.3.1", t0008_103e="survey")
    dicom_series(tmp_path, DATA, OBLIQUE, uid="1.2.3.2", first=50, t0008_103e="T2 sag", t0018_0015="CSPINE")
    with pytest.raises(
        VolumeError, match=r"None of the 2 series .* 3 survey \(survey, .* 3 T2 sag \(cspine, .*Give a file"
    ):
        read_scan(tmp_path)


def test_several_series_of_many_frames_are_to_be_converted(tmp_path: Path) -> None:
    enhanced = {**MPR, "t0008_0016": "1.2.840.10008.5.1.4.1.1.4.1", "t0028_0008": "176"}
    for k in (1, 2):
        dicom_series(tmp_path, DATA[..., :1], OBLIQUE, uid=f"1.2.3.{k}", first=k, **enhanced)
    with pytest.raises(VolumeError, match=r"None of the 2 series .*\(multi-frame, 1 slice\)\. Convert what is multi-"):
        read_scan(tmp_path)


def test_a_folder_without_dicom(tmp_path: Path) -> None:
    (tmp_path / "sub-01").mkdir()
    (tmp_path / "sub-01" / "notes").write_text("DICM")
    assert not is_dicom(tmp_path) and not is_dicom(tmp_path / "nowhere")
    with pytest.raises(VolumeError, match="is a folder without DICOM slices; give a NIfTI file"):
        read_scan(tmp_path)
    file = dicom_series(tmp_path / "slices", DATA, OBLIQUE)[0]
    assert is_dicom(file) and is_dicom(tmp_path)
    with pytest.raises(VolumeError, match=r"is DICOM, .* is not; give one kind"):
        all_slices([tmp_path, tmp_path / "sub-01"])


def test_what_bids_keeps_aside_is_not_the_scans(tmp_path: Path) -> None:
    dicom_series(tmp_path / "sourcedata" / "sub-01", DATA, OBLIQUE)
    save_nifti(tmp_path / "sub-01" / "anat" / "sub-01_T1w.nii.gz", DATA)
    assert not all_slices([tmp_path])
    assert all_slices([tmp_path / "sourcedata"]) and all_slices([tmp_path / "sourcedata" / "sub-01"])


def test_few_files_of_a_huge_folder_are_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[Path] = []
    real = dicom_files_room.is_dicom_file
    monkeypatch.setattr(dicom_files_room, "is_dicom_file", lambda path: looked.append(path) or real(path))
    for k in range(300):
        (tmp_path / f"{k}.raw").write_bytes(bytes(200))
    assert not is_dicom(tmp_path)
    assert len(looked) <= dicom_files_room.FILES
    (tmp_path / "DICOMDIR").write_bytes(bytes(128) + b"DICM")
    monkeypatch.setattr(dicom_files_room, "MOST_FILES", 100)
    dicom_series(tmp_path / "slices", DATA, OBLIQUE)
    with pytest.raises(VolumeError, match="holds 300 files; give a folder"):
        dicom_files_room.files_in(tmp_path)


NAME = {
    "t0010_0010": "Zyxwo^Quentin", "t0010_0020": "MRN4711", "t0010_0030": "19701231", "t0010_1000": "4711B",
    "t0010_1001": "Zyxwonius", "t0010_1040": "Elmstreet 5", "t0010_4000": "Quentin fears needles",
    "t0008_0090": "Referring^Zyxwo", "t0008_103e": "t1_mprage Zyxwo 4711B", "t0018_1030": "Quentin",
}  # fmt: skip
WORDS = ("zyxwo", "quentin", "mrn4711", "19701231", "4711b", "elmstreet", "needles", "referring")


def test_nothing_of_the_patient_is_taken_along(tmp_path: Path) -> None:
    """Neither by name nor notice nor error nor what a debugger prints, also where the folder is named so."""
    folder = tmp_path / "Zyxwo_Quentin"
    dicom_series(folder, DATA, OBLIQUE, **NAME)
    volume = read_scan(folder)
    stacks = brains_at(folder)
    said = json.dumps([volume.name, str(volume.path), volume.notices, [repr(s.header.label) for s in stacks]]).lower()
    assert not [word for word in WORDS if word in said]
    assert (volume.contrast, volume.path) == (Contrast.T1, None)
    assert volume.name.startswith("series-3-") and volume.name.endswith("_T1w")
    assert "t1_mprage …" in stacks[0].header.label
    assert "Quentin" not in repr(stacks[0]).replace(str(folder), "")
    header = volume.image_like(volume.data).header
    assert not [word for word in WORDS if word.encode() in bytes(header.binaryblock).lower()]


@pytest.mark.parametrize(
    ("charset", "name", "ending"),
    [("ISO_IR 100", "Süß^Jörg", ""), ("ISO_IR 192", "Süß^Jörg", ""), ("ISO_IR 144", "Люк^Петров", ""),
     ("ISO_IR 100", "Süß^Jörg", "NFD"), ("GB18030", "王伟", ""), ("\\ISO 2022 IR 149", "Hong^길동수", "")],
)  # fmt: skip
def test_names_beyond_ascii_are_known(charset: str, name: str, ending: str, tmp_path: Path) -> None:
    """The folder is called as the patient is, by a system that keeps letters and their marks together or apart."""
    folder = name.replace("^", "_")
    folder = unicodedata.normalize(ending, folder) if ending else folder
    tags = {**MPR, "t0008_0005": charset, "t0010_0010": name, "t0008_103e": "T1 axial"}
    dicom_series(tmp_path / folder, DATA, OBLIQUE, **tags)
    volume = read_scan(tmp_path / folder)
    assert volume.path is None and volume.name.startswith("series-3-")
    first = name.split("^")[0]
    assert first not in json.dumps([volume.name, volume.notices], ensure_ascii=False)


def test_a_description_beyond_ascii_can_be_written(tmp_path: Path) -> None:
    tags = {**MPR, "t0008_0005": "ISO_IR 100", "t0008_103e": "T1 Schädel axial"}
    dicom_series(tmp_path / "scan", DATA, OBLIQUE, **tags)
    (stack,) = brains_at(tmp_path / "scan")
    assert stack.header.label == "3 T1 Schädel axial"
    stack.header.label.encode("utf-8")


@pytest.mark.parametrize(
    ("raw", "charset", "text"),
    [
        (b"Sch\xe4del", "", "Schädel"), (b"Sch\xe4del", "ISO_IR 6", "Schädel"), ("Schädel".encode(), "", "Schädel"),
        (b"Sch\xe4del", "\\ISO 2022 IR 100", "Schädel"), ("Люк".encode("iso8859_5"), "ISO_IR 144", "Люк"),
        ("王".encode("gb18030"), "GB18030", "王"), (b"\x1b$)C" + "길동".encode("euc_kr"), "\\ISO 2022 IR 149", "길동"),
        ("山田".encode("iso2022_jp"), "ISO 2022 IR 13\\ISO 2022 IR 87", "山田"), (b"x\xff", "NONSENSE", "xÿ"),
    ],
)  # fmt: skip
def test_bytes_become_text(raw: bytes, charset: str, text: str) -> None:
    assert decoded(raw.decode("utf-8", "surrogateescape"), charset) == text


def test_a_series_in_two_folders_is_one_and_a_copy_is_not_part_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some discs hold so many files in each folder."""
    upper = OBLIQUE.copy()
    upper[:3, 3] += 5 * OBLIQUE[:3, 2]
    dicom_series(tmp_path / "disc" / "DIR0", DATA[..., :5], OBLIQUE, **MPR)
    dicom_series(tmp_path / "disc" / "DIR1", DATA[..., 5:], upper, first=5, **MPR)
    other = {**MPR, "0020|000e": "1.2.826.7", "0020|0011": "9"}
    dicom_series(tmp_path / "disc" / "DIR2", DATA, OBLIQUE, first=50, **other)
    for given in (tmp_path / "disc" / "DIR0", tmp_path / "disc" / "DIR1"):
        one = sorted(given.iterdir())[2]
        np.testing.assert_array_equal(read_scan(one).data, DATA)
    monkeypatch.chdir(tmp_path / "disc" / "DIR0")
    np.testing.assert_array_equal(read_scan(Path(sorted(Path().iterdir())[0])).data, DATA)
    for k in range(60):  # a disc of many
        dicom_series(tmp_path / "disc" / f"AIR{k:02}", DATA[..., :1], OBLIQUE, first=90 + k, **other)
    np.testing.assert_array_equal(read_scan(sorted((tmp_path / "disc" / "DIR1").iterdir())[0]).data, DATA)
    for k in range(60):
        shutil.rmtree(tmp_path / "disc" / f"AIR{k:02}")
    shutil.rmtree(tmp_path / "disc" / "DIR2")
    volume = read_scan(tmp_path / "disc")
    np.testing.assert_array_equal(volume.data, DATA)
    paths = dicom_series(tmp_path / "twice" / "a", DATA, OBLIQUE, **MPR)
    dicom_series(tmp_path / "twice" / "b", DATA, OBLIQUE, **MPR)
    np.testing.assert_array_equal(read_scan(paths[0]).data, DATA)
    with pytest.raises(VolumeError, match=r"holds several series: 3 t1_mprage_sag \(T1, 12 slices\); 3 t1_mprage_sag"):
        read_scan(tmp_path / "twice")


@pytest.mark.parametrize("shift", [0.0, 0.01, 0.05])
def test_slices_that_drift_a_little_from_one_to_the_next(shift: float, tmp_path: Path) -> None:
    """As of a tilted gantry: mm to the side for each of 60 slices of 1 mm."""
    data = np.random.default_rng(0).integers(1, 1000, (7, 6, 60)).astype(np.uint16)
    tilted = np.diag([1.2, 1.0, 1.0, 1.0])
    tilted[1, 2] = shift
    dicom_series(tmp_path, data, tilted, **MPR)
    if not shift:
        np.testing.assert_allclose(read_scan(tmp_path).affine, tilted, atol=1e-6)
        return
    with pytest.raises(VolumeError, match="has slices that are shifted against one another"):
        read_scan(tmp_path)


def test_gaps_that_add_up(tmp_path: Path) -> None:
    """No gap differs by more than 6 % from another, and yet slices would lie nearly one off."""
    data = np.random.default_rng(0).integers(1, 1000, (7, 6, 30)).astype(np.uint16)
    start = np.eye(4)
    for number, gap in enumerate((0.97, 1.03)):
        affine = np.diag([1.2, 1.0, gap, 1.0])
        affine[:3, 3] = start[:3, 3]
        dicom_series(tmp_path, data, affine, first=30 * number, **MPR)
        start[2, 3] += 30 * gap
    with pytest.raises(VolumeError, match=r"has slices 0\.97 to 1\.03 mm apart: some are missing or do not belong"):
        read_scan(tmp_path)


def test_a_folder_that_cannot_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its series may be the one that is meant; among other people's folders, one is passed by."""
    file = dicom_series(tmp_path / "ada" / "1", DATA, OBLIQUE, uid="1.2.3.1", **MPR)[0]
    dicom_series(tmp_path / "ada" / "2", DATA, OBLIQUE, uid="1.2.3.2", **T2)
    close_folder(monkeypatch, tmp_path / "ada" / "2")
    assert is_dicom(tmp_path / "ada")
    with pytest.raises(VolumeError, match=r"^'.*ada/2' cannot be read \(Permission denied\)\. Make it readable, or"):
        read_scan(tmp_path / "ada")
    np.testing.assert_array_equal(read_scan(file).data, DATA)
    close_folder(monkeypatch, file.parent)
    with pytest.raises(VolumeError, match=r"ada/1' cannot be read"):
        read_scan(file)


def _cut(path: Path, left: int = -60) -> None:
    path.write_bytes(path.read_bytes()[:left])


@pytest.mark.parametrize(("which", "left"), [(slice(9, None), -60), (slice(1, None, 2), -60), (slice(0, 2), 140)])
def test_slices_that_cannot_be_read_are_missed(which: slice, left: int, tmp_path: Path) -> None:
    """Without them, the others look like a volume: evenly spaced, but shorter or with larger gaps."""
    paths = dicom_series(tmp_path, DATA, OBLIQUE, **MPR)
    for path in paths[which]:
        _cut(path, left)
    line = (
        rf" has {len(paths[which])} of 12 files that cannot be read, such as 'IM\d+': empty, damaged, .*; copy or exp"
    )
    for given in (tmp_path, paths[2 if which.step else 4]):
        with pytest.raises(VolumeError, match=line):
            read_scan(given, "T1")


@pytest.mark.parametrize("closed", [False, True])
def test_an_empty_or_closed_file_is_missed(closed: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At an end, the others look like a whole volume; a mark of another program is none of them."""
    last = dicom_series(tmp_path, DATA, OBLIQUE, **MPR)[-1]
    (tmp_path / "done.flag").touch()
    np.testing.assert_array_equal(read_scan(tmp_path).data, DATA)
    if closed:
        content = Path.open

        def refuse(path: Path, *more: Any, **words: Any) -> Any:
            if path == last:
                raise PermissionError(13, "Permission denied", str(path))
            return content(path, *more, **words)

        monkeypatch.setattr(Path, "open", refuse)
    else:
        last.write_bytes(b"")
    with pytest.raises(VolumeError, match=rf"has 1 of 12 files that cannot be read, such as '{last.name}': empty, dam"):
        read_scan(tmp_path)
    if not closed:
        with pytest.raises(VolumeError, match=rf"'{last}' is empty; copy it again\."):
            read_scan(last)


def test_an_empty_file_of_another_name_is_none_of_a_series_without_endings(tmp_path: Path) -> None:
    for path in dicom_series(tmp_path, DATA, OBLIQUE, **MPR):
        path.rename(path.with_name(f"IM{path.stem[-2:]}"))
    (tmp_path / "README").touch()
    np.testing.assert_array_equal(read_scan(tmp_path).data, DATA)
    (tmp_path / "IM99").touch()
    with pytest.raises(VolumeError, match="has 1 of 13 files that cannot be read, such as 'IM99'"):
        read_scan(tmp_path)


@pytest.mark.parametrize("before", ["", "I", "IM_"])
def test_an_empty_file_of_a_series_whose_names_are_hexadecimal_is_missed(before: str, tmp_path: Path) -> None:
    """As on discs of some archives; letters of a word are of another kind."""
    paths = dicom_series(tmp_path, DATA, OBLIQUE, **MPR)
    paths = [path.rename(path.with_name(f"{before}{0x0F3A1C + k * 0x010001:06X}")) for k, path in enumerate(paths)]
    (tmp_path / "FACE").touch()
    np.testing.assert_array_equal(read_scan(tmp_path).data, DATA)
    paths[-1].write_bytes(b"")
    with pytest.raises(VolumeError, match=rf"has 1 of 12 files that cannot be read, such as '{before}1A3A27'"):
        read_scan(tmp_path)


@pytest.mark.parametrize("end", ["gone", "itself"])
def test_a_link_that_leads_nowhere_is_missed(end: str, tmp_path: Path) -> None:
    """As a dataset has for what was not fetched."""
    last = dicom_series(tmp_path, DATA, OBLIQUE, **MPR)[-1]
    (tmp_path / "notes.txt").symlink_to(tmp_path / "gone")
    np.testing.assert_array_equal(read_scan(tmp_path).data, DATA)
    last.unlink()
    last.symlink_to(tmp_path / "gone" if end == "gone" else last)
    with pytest.raises(VolumeError, match=rf"has 1 of 12 files .* '{last.name}': .*, a link that leads nowhere, or"):
        read_scan(tmp_path)


def test_folders_are_found_beside_links_that_lead_nowhere(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "series"):
        folder.mkdir(exist_ok=True)
        (folder / "itself").symlink_to(folder / "itself")
        for number in range(4 * FILES):
            (folder / f"{number}.old").symlink_to(tmp_path / "gone")
    assert not is_dicom(tmp_path)
    dicom_series(tmp_path / "series", DATA, OBLIQUE, **MPR)
    assert is_dicom(tmp_path)
    np.testing.assert_array_equal(read_scan(tmp_path).data, DATA)


def test_an_empty_file_among_several_series_refuses_none_of_them(tmp_path: Path) -> None:
    """Whether it is of one of them, nothing tells."""
    first = dicom_series(tmp_path, DATA, OBLIQUE, uid="1.2.3.1", **MPR)[0]
    dicom_series(tmp_path, DATA, OBLIQUE, uid="1.2.3.2", first=50, **T2)[-1].write_bytes(b"")
    for given, wanted in ((tmp_path, "T1"), (first, None)):
        volume = read_scan(given, wanted)
        np.testing.assert_array_equal(volume.data, DATA)
        assert (
            f"'{volume.name}' may lack slices: 1 file beside it cannot be read, and nothing tells of which series. "
            "If so, copy it again."
        ) in volume.notices


def test_a_damaged_file_stands_for_its_series_alone(tmp_path: Path) -> None:
    paths = dicom_series(tmp_path / "all", DATA, OBLIQUE, uid="1.2.3.1", **MPR)
    dicom_series(tmp_path / "all", DATA, OBLIQUE, uid="1.2.3.2", first=50, **T2)
    _cut(paths[-1])
    volume = read_scan(tmp_path / "all")
    assert volume.contrast is Contrast.T2
    assert volume.notices[-1] == (
        "Of 2 series, 3 t2_tse_tra (T2, 12 slices) was taken; left out: "
        "3 t1_mprage_sag (T1, 11 slices, 1 file that cannot be read)."
    )
    with pytest.raises(VolumeError, match="has 1 of 12 files that cannot be read"):
        read_scan(tmp_path / "all", "T1")
    for path in paths:
        _cut(path)
    assert read_scan(tmp_path / "all").notices[-1].endswith("left out: ? (0 slices, 12 files that cannot be read).")
    report = {**MPR, "t0008_0016": "1.2.840.10008.5.1.4.1.1.88.11"}
    dicom_series(tmp_path / "one", DATA, OBLIQUE, uid="1.2.3.3", **MPR)
    _cut(dicom_series(tmp_path / "one", DATA[..., :1], OBLIQUE, uid="1.2.3.3", first=90, **report)[0])
    np.testing.assert_array_equal(read_scan(tmp_path / "one").data, DATA)


def test_a_folder_beside_whose_ends_are_damaged_goes_on_with_the_series(tmp_path: Path) -> None:
    upper = OBLIQUE.copy()
    upper[:3, 3] += 5 * OBLIQUE[:3, 2]
    file = dicom_series(tmp_path / "DIR0", DATA[..., :5], OBLIQUE, **MPR)[0]
    dicom_series(tmp_path / "DIR1", DATA[..., 5:], upper, first=5, **MPR)
    beside = sorted((tmp_path / "DIR1").iterdir())
    for path in (beside[0], beside[-1]):
        _cut(path)
    with pytest.raises(VolumeError, match="files that cannot be read"):
        read_scan(file)
    copy = dicom_series(tmp_path / "twice" / "a", DATA, OBLIQUE, **MPR)[0]
    _cut(dicom_series(tmp_path / "twice" / "b", DATA, OBLIQUE, **MPR)[3])
    np.testing.assert_array_equal(read_scan(copy).data, DATA)


ECHOES = [({"t0018_0081": "1.7"}, "TE 1.7 ms"), ({"t0018_0081": "3.5"}, "TE 3.5 ms")]
WAYS = [({"t0008_0008": "ORIGINAL\\PRIMARY\\M\\ND"}, "ND"), ({"t0008_0008": "ORIGINAL\\PRIMARY\\M\\NORM"}, "NORM")]


@pytest.mark.parametrize("parts", [ECHOES, WAYS], ids=["echoes", "reconstructions"])
def test_a_file_tells_which_of_its_series_is_meant(parts: list[tuple[dict[str, str], str]], tmp_path: Path) -> None:
    for k, (tags, _) in enumerate(parts):
        dicom_series(tmp_path, DATA + k, OBLIQUE, first=50 * k, **{**MPR, **tags})
    told = "; ".join(rf"3 t1_mprage_sag \(T1, {words}, 12 slices\)" for _, words in parts)
    with pytest.raises(VolumeError, match=rf"holds several series: {told}\. Give the folder or a file of the one you"):
        read_scan(tmp_path)
    for stack in brains_at(tmp_path):
        expected = read_stack(stack, tmp_path).data
        for contrast in (None, "T1"):
            np.testing.assert_array_equal(read_scan(stack.files[3], contrast).data, expected)


def test_a_header_is_read_once_unless_its_file_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = dicom_series(tmp_path, DATA, OBLIQUE, **MPR)
    real, opened = sitk.ImageFileReader, []
    monkeypatch.setattr(sitk, "ImageFileReader", lambda: opened.append(1) or real())
    for _ in range(3):
        (stack,) = brains_at(tmp_path)
    assert stack.contrast is Contrast.T1 and len(opened) == len(files)
    dicom_series(tmp_path, DATA, OBLIQUE, **MPR | T2)
    (stack,) = brains_at(tmp_path)
    assert stack.contrast is Contrast.T2 and len(opened) == 2 * len(files)

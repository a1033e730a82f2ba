from __future__ import annotations

import gzip
import struct
import warnings
from collections.abc import Callable
from itertools import permutations, product
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from numpy.typing import NDArray

from helpers import RAS, head, save_nifti
from napari_mrtrans.errors import MrtransError, VolumeError
from napari_mrtrans.scan.contrasts import Contrast
from napari_mrtrans.scan.grid import Orientation
from napari_mrtrans.scan.masks import read_mask
from napari_mrtrans.scan.volume import Volume, read_samples

SHAPE = (20, 22, 12)
ORIENTATIONS = [
    np.column_stack([order, signs]) for order in permutations(range(3)) for signs in product((1, -1), repeat=3)
]


def oblique(degrees: float = 25) -> NDArray[np.float64]:
    c, s = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    tilt = np.array([[1, 0, 0], [0, c, -s], [0, s, c]]) @ np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]])
    return nib.affines.from_matvec(tilt @ np.diag([0.9, 1.1, 3.0]), [-40, 13, 7.5])


@pytest.mark.parametrize("affine", [np.diag([1.0, 1.5, 2.0, 1.0]), oblique()], ids=["straight", "oblique"])
def test_48_orientations_of_one_head_show_the_same_head(affine: NDArray, tmp_path: Path) -> None:
    original = nib.Nifti1Image(head(SHAPE), affine)
    reference = Orientation.from_affine(affine).to_canonical(head(SHAPE))
    for ornt in ORIENTATIONS:
        turned = original.as_reoriented(ornt)
        turned.to_filename(tmp_path / "a_T1w.nii")
        volume = Volume.load(tmp_path / "a_T1w.nii")
        assert nib.aff2axcodes(volume.affine)[volume.axial_axis] in "SI"
        assert volume.n_slices == SHAPE[2]
        assert volume.voxel_sizes[volume.axial_axis] == pytest.approx(nib.affines.voxel_sizes(affine)[2])
        np.testing.assert_array_equal(Orientation.from_affine(volume.affine).to_canonical(volume.data), reference)
        # The same voxel lies at the same place in the world.
        brightest = np.unravel_index(volume.data.argmax(), volume.data.shape)
        expected = np.unravel_index(head(SHAPE).argmax(), SHAPE)
        np.testing.assert_allclose(
            nib.affines.apply_affine(volume.affine, brightest), nib.affines.apply_affine(affine, expected), atol=1e-3
        )


def scaled(slope: float, inter: float, dtype: type = np.int16) -> Callable[[Path], NDArray]:
    def write(path: Path) -> NDArray:
        raw = np.round(head(SHAPE) / slope).astype(dtype)
        # nibabel rescales on writing; put the raw numbers and the scale into the file by hand.
        blob = bytearray(nib.Nifti1Image(raw, RAS).to_bytes())
        struct.pack_into("<2f", blob, 112, slope, inter)
        path.write_bytes(bytes(blob))
        return raw * np.float32(slope) + np.float32(inter)

    return write


def plain(dtype: str) -> Callable[[Path], NDArray]:
    def write(path: Path) -> NDArray:
        data = (head(SHAPE) / 3).astype(dtype)
        image = nib.Nifti1Image(
            data, RAS, nib.Nifti1Header(endianness=">" if dtype[0] == ">" else "<"), dtype=data.dtype
        )
        image.to_filename(path)
        return data.astype(np.float32)

    return write


WRITERS = {
    "slope": scaled(0.25, 0.0),
    "slope and intercept": scaled(2.0, -100.0),
    "unsigned slope": scaled(0.01, 5.0, np.uint16),
    **{dtype: plain(dtype) for dtype in ("u1", "i2", "i4", "i8", "u2", "f4", "f8", ">i2", ">f4", ">f8")},
}


@pytest.mark.parametrize("kind", WRITERS)
@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_number_types(kind: str, suffix: str, tmp_path: Path) -> None:
    path = tmp_path / "a_T1w.nii"
    expected = WRITERS[kind](path)
    if suffix == ".nii.gz":
        (tmp_path / "a_T1w.nii.gz").write_bytes(gzip.compress(path.read_bytes()))
    volume = Volume.load(tmp_path / f"a_T1w{suffix}")
    assert volume.data.dtype == np.dtype("=f4")
    np.testing.assert_allclose(volume.data, expected, rtol=1e-6)
    assert volume.contrast is Contrast.T1
    assert volume.name == "a_T1w"


def test_nans_and_negative_values_are_read_as_they_are(tmp_path: Path) -> None:
    data = head(SHAPE)
    data[:3], data[3:5], data[5, 0, 0] = np.nan, -40, np.inf
    volume = Volume.load(save_nifti(tmp_path / "a_T1w.nii.gz", data))
    np.testing.assert_array_equal(volume.data, data)


def test_trailing_singleton_is_dropped(tmp_path: Path) -> None:
    for shape in ((*SHAPE, 1), (*SHAPE, 1, 1)):
        volume = Volume.load(save_nifti(tmp_path / "a_T1w.nii.gz", head(SHAPE).reshape(shape)))
        np.testing.assert_array_equal(volume.data, head(SHAPE))
    np.testing.assert_array_equal(volume.data, head(SHAPE))
    assert volume.image_like(volume.data).shape == SHAPE


@pytest.mark.parametrize("name", ["a_T1w.nii", "a_T1w.nii.gz", "A_T1W.NII.GZ", "a.b_T1w.nii.gz"])
def test_name_without_suffix(name: str, tmp_path: Path) -> None:
    blob = nib.Nifti1Image(head(SHAPE), RAS).to_bytes()
    (tmp_path / name).write_bytes(gzip.compress(blob) if name.lower().endswith("gz") else blob)
    volume = Volume.load(tmp_path / name)
    assert volume.name == name[: name.lower().index(".nii")]
    assert volume.path == tmp_path / name


def test_a_given_contrast_beats_the_name(tmp_path: Path) -> None:
    path = save_nifti(tmp_path / "a_T1w.nii", head(SHAPE))
    assert Volume.load(path, "flair").contrast is Contrast.FLAIR
    assert Volume.load(path, Contrast.PD).contrast is Contrast.PD
    with pytest.raises(MrtransError, match="Unknown contrast 'T7'"):
        Volume.load(path, "T7")
    assert Volume.load(save_nifti(tmp_path / "scan.nii", head(SHAPE))).contrast is None


def headers() -> dict[str, nib.Nifti1Image]:
    data = head(SHAPE)
    out = {}
    for name, qcode, scode in (("both", 1, 4), ("qform only", 2, 0), ("sform only", 0, 3), ("differing", 1, 2)):
        image = nib.Nifti1Image(data, None)
        image.header.set_xyzt_units("mm", "sec")
        image.set_qform(oblique(10 if name == "differing" else 25), qcode)
        image.set_sform(oblique() if scode else None, scode)
        out[name] = image
    neither = nib.Nifti1Image(data, None)
    neither.header.set_zooms((0.8, 1.2, 2.5))
    neither.set_sform(None, 0)
    neither.set_qform(None, 0)
    out["neither"] = neither
    micron = nib.Nifti1Image(data, oblique())
    micron.header.set_xyzt_units("micron", "msec")
    out["micron"] = micron
    big = nib.Nifti1Image(data, oblique(), nib.Nifti1Header(endianness=">"))
    out["big-endian"] = big
    integer = nib.Nifti1Image(data.astype(np.int16), oblique())
    integer.header["cal_max"], integer.header["cal_min"] = 700, 10
    integer.header["descrip"] = b"scanner"
    out["int16"] = integer
    out["trailing axis"] = nib.Nifti1Image(data[..., None], oblique())
    out["nifti-2"] = nib.Nifti2Image(data, oblique())
    return out


@pytest.mark.parametrize("kind", headers())
@pytest.mark.parametrize("samples", [0, 3])
def test_written_images_lie_exactly_where_the_input_lies(kind: str, samples: int, tmp_path: Path) -> None:
    path = tmp_path / "a_T1w.nii.gz"
    headers()[kind].to_filename(path)
    before = nib.load(path)
    volume = Volume.load(path)
    result = np.random.default_rng(0).random((*SHAPE, samples) if samples else SHAPE).astype(np.float32)
    volume.image_like(result).to_filename(tmp_path / "out.nii.gz")
    after = nib.load(tmp_path / "out.nii.gz")
    assert after.shape == result.shape
    assert after.get_data_dtype() == np.float32
    np.testing.assert_array_equal(after.get_fdata(dtype=np.float32), result)
    np.testing.assert_array_equal(after.affine, before.affine)
    for code in ("qform_code", "sform_code"):
        assert after.header[code] == before.header[code]
    np.testing.assert_array_equal(after.get_sform(), before.get_sform())
    np.testing.assert_allclose(after.get_qform(), before.get_qform(), atol=1e-6)
    assert after.header.get_zooms()[:3] == before.header.get_zooms()[:3]
    assert after.header.get_xyzt_units() == before.header.get_xyzt_units()
    assert (after.header["cal_min"], after.header["cal_max"]) == (0, 0)
    slope, inter = after.dataobj.slope, after.dataobj.inter
    assert (slope, inter) == (1, 0)


def test_writing_does_not_change_the_volume_s_own_header(tmp_path: Path) -> None:
    volume = Volume.load(save_nifti(tmp_path / "a_T1w.nii", head(SHAPE).astype(np.int16)))
    assert volume.header is not None
    before = volume.header.binaryblock
    volume.image_like(np.zeros(SHAPE))
    assert volume.header.binaryblock == before


def patched(offset: int, code: str, *values: float) -> Callable[[Path], Path]:
    """A sound file with one header field overwritten."""

    def write(folder: Path) -> Path:
        blob = bytearray(nib.Nifti1Image(head(SHAPE), RAS).to_bytes())
        struct.pack_into("<" + code, blob, offset, *values)
        path = folder / "bad_T1w.nii"
        path.write_bytes(bytes(blob))
        return path

    return write


def raw(name: str, change: Callable[[bytes], bytes]) -> Callable[[Path], Path]:
    """The bytes of a sound file, changed."""

    def write(folder: Path) -> Path:
        blob = nib.Nifti1Image(head(SHAPE), RAS).to_bytes()
        (folder / name).write_bytes(change(gzip.compress(blob) if name.endswith(".gz") else blob))
        return folder / name

    return write


def array(data: NDArray, affine: NDArray = RAS) -> Callable[[Path], Path]:
    return lambda folder: save_nifti(folder / "bad_T1w.nii.gz", data, affine)


def other_format(name: str, kind: type) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        kind(head(SHAPE), RAS).to_filename(folder / name)
        return folder / name

    return write


def folder_in_place_of_a_file(folder: Path) -> Path:
    (folder / "bad_T1w.nii.gz").mkdir()
    return folder / "bad_T1w.nii.gz"


def flipped_bits(blob: bytes) -> bytes:
    middle = len(blob) // 2
    return blob[:middle] + bytes(255 - byte for byte in blob[middle : middle + 20]) + blob[middle + 20 :]


RGB = np.dtype([("R", "u1"), ("G", "u1"), ("B", "u1")])
RGBA = np.dtype([*RGB.descr, ("A", "u1")])
#: How a file can be wrong -> (how to write one, what the line must say).
REFUSED: dict[str, tuple[Callable[[Path], Path], str]] = {
    "1-D": (array(np.ones(20, np.float32)), "is 1-D; expected one 3-D volume"),
    "2-D": (array(head(SHAPE)[..., 5]), "is 2-D; expected one 3-D volume. Put all slices into one file."),
    "4-D": (array(np.stack([head(SHAPE)] * 3, -1)), "is 4-D; expected one 3-D volume. Write the volume"),
    "4-D of one slice": (array(head(SHAPE)[:, :, None, :]), "is 4-D; expected one 3-D volume"),
    "5-D": (array(np.stack([head(SHAPE)] * 2, -1)[..., None, :]), "is 5-D; expected one 3-D volume"),
    "RGB": (array(np.zeros(SHAPE, RGB)), "is RGB; expected one 3-D volume"),
    "RGBA": (array(np.zeros(SHAPE, RGBA)), "is RGB; expected one 3-D volume"),
    "RGB as a fourth axis": (array(np.zeros((*SHAPE, 3), np.uint8)), "is RGB; expected one 3-D volume"),
    "complex": (array(head(SHAPE).astype(np.complex64)), "is complex; expected magnitudes"),
    "empty": (patched(40, "4h", 3, 20, 0, 12), "is empty (shape 20x0x12)"),
    "constant": (array(np.full(SHAPE, 7, np.float32)), "is constant; there is nothing to transform. Give another scan"),
    "zeros": (array(np.zeros(SHAPE, np.int16)), "is constant; there is nothing to transform"),
    "constant beside NaN": (array(np.where(head(SHAPE) > 0, 5, np.nan)), "is constant"),
    "NaN": (array(np.full(SHAPE, np.nan, np.float32)), "no finite voxel"),
    "infinite": (array(np.full(SHAPE, np.inf, np.float32)), "no finite voxel"),
    "negative": (array(-head(SHAPE) - 1), "no positive voxel"),
    "voxel size 0 in pixdim": (patched(80, "f", 0.0), "voxel size of 0"),
    "all voxel sizes 0": (patched(80, "3f", 0.0, 0.0, 0.0), "voxel size of 0"),
    "voxel size NaN": (patched(84, "f", float("nan")), "voxel size of 0"),
    "voxel size 0 in the affine": (patched(280, "12f", 0, 0, 0, 5, 0, 1, 0, 5, 0, 0, 1, 5), "voxel size of 0"),
    "no affine": (patched(280, "12f", *[0.0] * 12), "voxel size of 0"),
    "NaN in the affine": (patched(280, "f", float("nan")), "no valid 4x4 affine"),
    "flat affine": (patched(280, "12f", 1, 1, 0, 0, 1, 1, 0, 0, 0, 0, 1, 0), "singular affine"),
    "unknown data type": (patched(70, "h", 999), "cannot be read as NIfTI"),
    "data type 0": (patched(70, "h", 0), "cannot be read as NIfTI"),
    "wrong magic": (patched(344, "4s", b"none"), "cannot be read as NIfTI"),
    "bad intercept": (patched(112, "2f", 1.0, float("nan")), "cannot be read as NIfTI"),
    "negative data offset": (patched(108, "f", -5.0), "cannot be read as NIfTI"),
    "data offset NaN": (patched(108, "f", float("nan")), "cannot be read as NIfTI"),
    "data offset beyond the end": (patched(108, "f", 1e9), "truncated or damaged"),
    "sizes of a petabyte": (patched(40, "4h", 3, 32767, 32767, 32767), "truncated or damaged"),
    "empty file": (raw("bad_T1w.nii", lambda blob: b""), "cannot be read as NIfTI"),
    "empty .gz": (raw("bad_T1w.nii.gz", lambda blob: b""), "cannot be read as NIfTI"),
    "header cut": (raw("bad_T1w.nii", lambda blob: blob[:200]), "cannot be read as NIfTI"),
    "only a header": (raw("bad_T1w.nii", lambda blob: blob[:352]), "truncated or damaged"),
    "half": (raw("bad_T1w.nii", lambda blob: blob[: len(blob) // 2]), "truncated or damaged"),
    "last byte missing": (raw("bad_T1w.nii", lambda blob: blob[:-1]), "truncated or damaged"),
    "gz header cut": (raw("bad_T1w.nii.gz", lambda blob: blob[:5]), "cannot be read as NIfTI"),
    "gz start": (raw("bad_T1w.nii.gz", lambda blob: blob[:60]), "cannot be read as NIfTI"),
    "gz half": (raw("bad_T1w.nii.gz", lambda blob: blob[: len(blob) // 2]), "truncated or damaged"),
    "gz without its last byte": (raw("bad_T1w.nii.gz", lambda blob: blob[:-1]), "truncated or damaged"),
    "gz garbled at the start": (raw("bad_T1w.nii.gz", lambda b: b[:12] + b"\xff" * 20 + b[32:]), "as NIfTI"),
    "gz garbled inside": (raw("bad_T1w.nii.gz", flipped_bits), "truncated or damaged"),
    "not compressed": (raw("bad_T1w.nii.gz", gzip.decompress), "cannot be read as NIfTI"),
    "compressed under .nii": (raw("bad_T1w.nii", gzip.compress), "cannot be read as NIfTI"),
    "text as .nii.gz": (raw("bad_T1w.nii.gz", lambda blob: b"patient,age\n1,40\n"), "cannot be read as NIfTI"),
    "text as .nii": (raw("bad_T1w.nii", lambda blob: b"patient,age\n1,40\n" * 100), "cannot be read as NIfTI"),
    "text": (raw("bad_T1w.txt", lambda blob: b"hello"), "is not a NIfTI file"),
    "zstd": (raw("bad_T1w.nii.zst", lambda blob: b"x" * 400), "is not a NIfTI file"),
    "broken FreeSurfer": (raw("bad_T1w.mgz", lambda blob: b"x" * 10), "is not a NIfTI file"),
    "broken FreeSurfer, packed": (raw("bad_T1w.mgz", lambda blob: gzip.compress(b"x" * 400)), "is not a NIfTI file"),
    "MINC2": (raw("bad_T1w.mnc", lambda blob: b"\x89HDF\r\n\x1a\nxx"), "is not a NIfTI file"),
    "GIfTI": (raw("bad_T1w.gii", lambda blob: b"<xml"), "is not a NIfTI file"),
    "zip": (raw("bad_T1w.zip", lambda blob: b"PK\x03\x04"), "is an archive; unpack it"),
    "tar": (raw("bad_T1w.tar.gz", gzip.compress), "is an archive; unpack it"),
    "DICOM without preamble": (
        raw("bad_T1w.dcm", lambda blob: b"\x08\x00\x05\x00CS\x0a\x00ISO_IR 100"),
        "seems to be DICOM without its pream",
    ),
    "pair": (other_format("bad_T1w.img", nib.Nifti1Pair), "is one of a pair of files (.hdr and .img); write them as"),
    "FreeSurfer": (other_format("bad_T1w.mgz", nib.MGHImage), "is not a NIfTI file"),
    "Analyze": (other_format("bad_T1w.img", nib.Spm99AnalyzeImage), "is not a NIfTI file"),
    "folder": (folder_in_place_of_a_file, "is a folder"),
    "missing": (lambda folder: folder / "bad_T1w.nii.gz", "does not exist"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_refused_with_one_line(kind: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    write, expected = REFUSED[kind]
    path = write(tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(VolumeError) as caught:
            Volume.load(path)
    line = str(caught.value)
    assert expected in line
    assert "bad_T1w" in line
    assert "\n" not in line
    assert line.endswith(".")
    out, err = capfd.readouterr()
    assert (out, err) == ("", ""), "nibabel talks beside our line"


def test_nibabel_still_speaks_to_others() -> None:
    level = nib.imageglobals.logger.level
    with pytest.raises(VolumeError):
        Volume.load("there-is-no-such-file.nii")
    assert nib.imageglobals.logger.level == level


@pytest.mark.parametrize(
    ("data", "affine", "expected"),
    [
        (np.array([["a"]]), RAS, "2-D"),
        (np.full(SHAPE, "a"), RAS, "not numbers"),
        (head(SHAPE), np.eye(3), "no valid 4x4 affine"),
        (head(SHAPE), np.diag([1, 1, 0, 1.0]), "voxel size of 0"),
        (head(SHAPE), np.zeros((4, 4)), "voxel size of 0"),
    ],
)
def test_arrays_are_checked_as_files_are(data: NDArray, affine: NDArray, expected: str) -> None:
    with pytest.raises(VolumeError, match=expected):
        Volume(data, affine)


def test_mask(tmp_path: Path) -> None:
    volume = Volume(head(SHAPE), oblique())
    inside = head(SHAPE) > 350
    for dtype in (np.uint8, np.float64):
        path = save_nifti(tmp_path / "m.nii.gz", inside.astype(dtype), oblique())
        np.testing.assert_array_equal(read_mask(path, volume), inside)
    path = save_nifti(tmp_path / "m4.nii.gz", inside[..., None].astype(np.uint8), oblique())
    np.testing.assert_array_equal(read_mask(path, volume), inside)
    soft = np.where(inside, 0.2, np.nan)
    np.testing.assert_array_equal(read_mask(save_nifti(tmp_path / "s.nii", soft, oblique()), volume), inside)


@pytest.mark.parametrize("affine", [RAS, oblique(26)])
def test_mask_elsewhere(affine: NDArray, tmp_path: Path) -> None:
    volume = Volume(head(SHAPE), oblique(), name="brain")
    path = save_nifti(tmp_path / "m.nii", np.ones(SHAPE, np.uint8), affine)
    with pytest.raises(VolumeError, match=r"'m.nii' does not lie on the grid of 'brain'"):
        read_mask(path, volume)


def test_mask_of_another_shape(tmp_path: Path) -> None:
    path = save_nifti(tmp_path / "m.nii", np.ones((20, 22, 11), np.uint8))
    with pytest.raises(VolumeError, match="does not lie on the grid"):
        read_mask(path, Volume(head(SHAPE), RAS))


def test_a_link_that_leads_nowhere_and_a_name_that_is_too_long(tmp_path: Path) -> None:
    link = tmp_path / "sub-01_T1w.nii.gz"
    link.symlink_to("../.git/annex/objects/x.nii.gz")
    with pytest.raises(VolumeError, match=r"is a link to '../.git/annex/objects/x.nii.gz', which is not there\. Fetch"):
        Volume.load(link)
    with pytest.raises(VolumeError, match=r"^'.{101}' cannot be opened \(File name too long\)\.$"):
        Volume.load(Path("x" * 300 + "_T1w.nii.gz"))


def test_bzip2(tmp_path: Path) -> None:
    volume = Volume.load(save_nifti(tmp_path / "sub-01_T1w.nii.bz2", head(SHAPE)))
    assert (volume.name, volume.contrast) == ("sub-01_T1w", Contrast.T1)
    np.testing.assert_array_equal(volume.data, head(SHAPE))


def test_what_is_masked_is_not_known() -> None:
    masked = np.ma.masked_less(head(SHAPE) + 1000, 1001)
    volume = Volume(masked, RAS)
    assert np.isnan(volume.data[masked.mask]).all()
    np.testing.assert_array_equal(volume.data[~masked.mask], masked.compressed())


def test_results_take_the_grid_of_a_header_and_nothing_else(tmp_path: Path) -> None:
    image = nib.Nifti1Image(head(SHAPE), oblique())
    image.set_sform(oblique(), code="mni")
    image.header.set_intent("label", name="Doe^Jane")
    image.header["descrip"], image.header["aux_file"] = b"Doe^Jane 1970", b"doe.json"
    image.header["db_name"], image.header["cal_max"] = b"Doe", 7
    timing = {"toffset": 12.5, "slice_code": 3, "slice_duration": 0.05, "slice_end": 9, "dim_info": 57}
    legacy = {"session_error": 7, "extents": 9, "glmax": 4095}
    for field, value in (timing | legacy).items():
        image.header[field] = value
    image.header["pixdim"][4] = 2.3  # seconds
    image.header.extensions.append(nib.nifti1.Nifti1Extension("comment", b"PatientName Doe^Jane"))
    image.to_filename(tmp_path / "a_T1w.nii")
    volume = Volume.load(tmp_path / "a_T1w.nii")
    volume.image_like(volume.data, "synthetic T2 from T1, m, n=2").to_filename(tmp_path / "b.nii")
    assert b"Doe" in (tmp_path / "a_T1w.nii").read_bytes() and b"Doe" not in (tmp_path / "b.nii").read_bytes()
    header = nib.load(tmp_path / "b.nii").header
    assert header["descrip"].item() == b"synthetic T2 from T1, m, n=2"
    assert header.get_intent() == ("none", (), "")
    assert (len(header.extensions), float(header["cal_max"]), int(header["sform_code"])) == (0, 0.0, 4)
    assert not any(header[field] for field in timing | legacy) and (header["pixdim"][4:] == 1).all()
    np.testing.assert_allclose(nib.load(tmp_path / "b.nii").affine, oblique(), atol=1e-6)
    assert b"Doe" in volume.header.extensions[0].get_content()  # the volume's own is left alone


def test_the_timing_of_a_nifti_2_file_is_left_out_too() -> None:
    header = nib.Nifti2Header()
    header["toffset"], header["slice_end"], header["unused_str"] = 12.5, 9, b"Doe"
    header["pixdim"][4] = 2.3
    written = Volume(head(SHAPE), RAS, header=header).image_like(head(SHAPE)).header
    assert (float(written["toffset"]), int(written["slice_end"]), written["unused_str"].item()) == (0.0, 0, b"")
    assert written["pixdim"][4] == 1


@pytest.mark.parametrize("shape", [(9, 8), (9, 8, 7), (9, 8, 7, 2, 2)])
def test_samples_of_other_dimensions_are_refused_in_a_line(shape: tuple[int, ...], tmp_path: Path) -> None:
    nib.Nifti1Image(np.ones(shape, np.float32), np.eye(4)).to_filename(tmp_path / "s.nii")
    with pytest.raises(VolumeError, match=r"^The samples 's.nii' are no 4-D volume on the grid of 'volume'"):
        read_samples(tmp_path / "s.nii", Volume(head(SHAPE), RAS))


def test_a_file_that_states_no_orientation_is_taken_and_it_is_said(tmp_path: Path) -> None:
    for kind, image in headers().items():
        image.to_filename(tmp_path / "x_T1w.nii")
        line = (
            "'x_T1w' states no orientation; its third axis was taken as inferior-superior, its second as "
            "posterior-anterior. If they are not, set the orientation in its header."
        )
        assert (line in Volume.load(tmp_path / "x_T1w.nii").notices) == (kind == "neither"), kind

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from helpers import head
from napari_mrtrans.errors import VolumeError
from napari_mrtrans.scan import field_of_view
from napari_mrtrans.scan.masks import read_mask
from napari_mrtrans.scan.volume import Volume

SHAPE = (20, 24, 8)


@pytest.fixture(autouse=True)
def real_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(field_of_view, "HEAD_MM", (40.0, 500.0))


def saved(path: Path, size: float, unit: str, shape: tuple[int, int, int] = SHAPE, dtype: type = np.float32) -> Path:
    affine = np.diag([size, size, size, 1.0])
    affine[:3, 3] = -3 * size, size, 2 * size
    image = nib.Nifti1Image(head(shape).astype(dtype), affine)
    image.header.set_xyzt_units(unit)
    path.parent.mkdir(parents=True, exist_ok=True)
    image.to_filename(path)
    return path


@pytest.mark.parametrize(
    ("size", "unit", "factor"),
    [(8.0, "mm", 1), (8.0, "unknown", 1), (8000.0, "micron", 1e-3), (0.008, "meter", 1e3)],
)
def test_the_unit_of_the_header_makes_a_head(size: float, unit: str, factor: float, tmp_path: Path) -> None:
    volume = Volume.load(saved(tmp_path / "a_T1w.nii", size, unit))
    np.testing.assert_allclose(volume.voxel_sizes, 8.0, rtol=1e-6)
    np.testing.assert_allclose(volume.affine[:3, 3], (-24, 8, 16), rtol=1e-6)
    assert (volume.unit_mm, volume.notices) == (factor, ())


@pytest.mark.parametrize("unit", ["micron", "meter"])
def test_a_file_that_states_another_unit_than_it_has_is_in_millimetres(unit: str, tmp_path: Path) -> None:
    volume = Volume.load(saved(tmp_path / "a_T1w.nii", 8.0, unit))
    np.testing.assert_allclose(volume.voxel_sizes, 8.0)
    assert volume.notices == (
        f"'a_T1w' states its unit as {unit}, in which no head is that large; it was taken as mm.",
    )
    image = volume.image_like(volume.data)  # wherever a program shows the scan, it shows the result
    np.testing.assert_array_equal(image.affine, nib.load(tmp_path / "a_T1w.nii").affine)
    assert image.header.get_xyzt_units()[0] == unit


@pytest.mark.parametrize("size", [8000.0, 0.8, 0.008, 40.0])
def test_what_no_head_is_is_refused_by_its_size(size: float, tmp_path: Path) -> None:
    sides = " x ".join(f"{size * n:.4g}" for n in SHAPE)
    with pytest.raises(VolumeError) as caught:
        Volume.load(saved(tmp_path / "a_T1w.nii", size, "mm"))
    line = f"'a_T1w' is {sides} mm large, which no head is: 40 to 500 mm are expected."
    assert str(caught.value) == f"{line} Repair the voxel size in its header."
    with pytest.raises(VolumeError, match="which no head is"):
        Volume(head(SHAPE), np.diag([size, size, size, 1.0]))


def test_the_unit_that_fits_no_better_is_named(tmp_path: Path) -> None:
    with pytest.raises(VolumeError, match=r"which no head is, nor is it in meter, which its header states: 40 to 500"):
        Volume.load(saved(tmp_path / "a_T1w.nii", 0.8, "meter"))


@pytest.mark.parametrize("shape", [(200, 200, 1), (3, 170, 170), (60, 2, 45)])
def test_a_slab_is_a_head(shape: tuple[int, int, int]) -> None:
    assert field_of_view.holds_a_head(np.array(shape, dtype=float))


def test_results_lie_on_the_grid_of_the_file(tmp_path: Path) -> None:
    path = saved(tmp_path / "a_T1w.nii", 8000.0, "micron")
    volume = Volume.load(path)
    volume.image_like(volume.data).to_filename(tmp_path / "b_T1w.nii")
    again, before = nib.load(tmp_path / "b_T1w.nii"), nib.load(path)
    np.testing.assert_allclose(again.affine, before.affine, rtol=1e-7)
    assert again.header.get_xyzt_units()[0] == "micron"
    np.testing.assert_array_equal(Volume.load(tmp_path / "b_T1w.nii").affine, volume.affine)


def test_a_mask_in_another_unit_lies_on_the_same_grid(tmp_path: Path) -> None:
    volume = Volume.load(saved(tmp_path / "a_T1w.nii", 8.0, "mm"))
    mask = read_mask(saved(tmp_path / "m.nii", 8000.0, "micron"), volume)
    np.testing.assert_array_equal(mask, head(SHAPE) > 0.5 * head(SHAPE).max())


def test_the_limits_are_those_of_the_package() -> None:
    source = Path(str(field_of_view.__file__)).read_text(encoding="utf-8")
    assert "HEAD_MM = (40.0, 500.0)" in source

"""From layer to volume: affines, refusals, and which slice is on screen."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Image, Labels
from napari_nifti import napari_get_reader

from napari_mrtrans.errors import VolumeError
from napari_mrtrans.scan.contrasts import Contrast
from napari_mrtrans.widgets.sample_data import icbm152
from napari_mrtrans.widgets.source import (
    LayerSource,
    axial_axis,
    check_layer,
    guess_layer_contrast,
    is_candidate,
    layer_affine,
    show_slice,
    show_voxel,
    slice_on_screen,
)
from napari_mrtrans.widgets.writer import write_nifti

RNG = np.random.default_rng(0)


def oblique_affine() -> np.ndarray:
    """A P, S, R ordered grid of 1 x 1.5 x 2 mm, tilted by 20 degrees about x and 10 about z."""
    tilt = nib.eulerangles.euler2mat(z=np.deg2rad(10), x=np.deg2rad(20))
    axes = np.array([[0, 0, 1], [-1, 0, 0], [0, 1, 0]], dtype=float)
    return nib.affines.from_matvec(tilt @ axes @ np.diag([1, 1.5, 2]), [5, -7, 11])


def affine_of(codes: str) -> np.ndarray:
    """An anisotropic grid in the named orientation."""
    ornt = nib.orientations.axcodes2ornt(tuple(codes))
    affine = np.zeros((4, 4))
    for axis, (world, sign) in enumerate(ornt):
        affine[int(world), axis] = sign * (1.0 + axis / 2)
    affine[:3, 3] = (3, -4, 5)
    affine[3, 3] = 1
    return affine


AFFINES = {code: affine_of(code) for code in ("RAS", "LAS", "LPS", "PSR", "SAR", "ILA")} | {"oblique": oblique_affine()}


@pytest.mark.parametrize("name", AFFINES)
def test_affine_of_a_napari_nifti_layer_places_every_voxel(tmp_path: Path, name: str) -> None:
    data = RNG.random((5, 6, 7)).astype(np.float32)
    path = tmp_path / "sub-01_T1w.nii.gz"
    nib.Nifti1Image(data, AFFINES[name]).to_filename(path)
    voxels, keywords = open_nifti(path)
    layer = Image(voxels, **keywords)
    affine = layer_affine(layer)
    # Each voxel of the layer must lie where nibabel puts the voxel of the file with the same value.
    for value in RNG.choice(data.ravel(), 20, replace=False):
        in_file = np.argwhere(data == value)[0]
        in_layer = np.argwhere(np.asarray(layer.data) == value)[0]
        np.testing.assert_allclose(
            nib.affines.apply_affine(affine, in_layer),
            nib.affines.apply_affine(AFFINES[name], in_file),
            atol=1e-4,
        )
    # The reader says S, A, R for every file but leaves cyclic permutations as they are; the affine tells the truth.
    assert nib.aff2axcodes(affine)[axial_axis(affine)] in "SI"


def open_nifti(path: Path) -> tuple[np.ndarray, dict]:
    """Data and layer keywords as the real reader gives them."""
    data, keywords, _ = napari_get_reader(str(path))(str(path))[0]
    return data, keywords


def test_an_array_with_its_own_affine_is_taken_as_it_lies() -> None:
    layer = Image(np.zeros((4, 5, 6)), metadata={"affine": affine_of("LPS")})
    np.testing.assert_array_equal(layer_affine(layer), affine_of("LPS"))
    assert axial_axis(layer_affine(layer)) == 2


def test_a_plain_array_is_axial_first_with_the_layers_voxel_size() -> None:
    affine = layer_affine(Image(np.zeros((4, 5, 6)), scale=(3, 1, 2)))
    assert nib.aff2axcodes(affine) == ("S", "P", "L")
    np.testing.assert_allclose(nib.affines.voxel_sizes(affine), (3, 1, 2))


@pytest.mark.parametrize(
    "placed",
    [
        {"affine": np.diag([3.0, 0.5, 0.5, 1])},
        {"scale": (1.5, 0.5, 1), "affine": np.diag([2.0, 1, 0.5, 1])},
        {"scale": (0.3, 0.05, 0.05), "units": "cm"},
        {"scale": (3, 0.5, 0.5), "units": "mm"},
    ],
)
def test_a_plain_array_has_the_voxel_size_that_napari_shows(placed: dict, tmp_path: Path) -> None:
    layer = Image(np.random.default_rng(0).random((4, 5, 6)), **placed)
    np.testing.assert_allclose(nib.affines.voxel_sizes(layer_affine(layer)), (3, 0.5, 0.5))
    data, attributes, _ = layer.as_layer_data_tuple()
    write_nifti(str(tmp_path / "a.nii.gz"), data, attributes)
    np.testing.assert_allclose(nib.load(tmp_path / "a.nii.gz").header.get_zooms(), (3, 0.5, 0.5))


def test_a_plain_array_shown_upside_down_is_read_as_shown() -> None:
    assert nib.aff2axcodes(layer_affine(Image(np.zeros((4, 5, 6)), scale=(-3, -1, -2)))) == ("S", "A", "R")


def test_without_an_affine_a_layer_is_read_as_it_is_shown_however_it_was_turned() -> None:
    data = RNG.random((4, 5, 5)).astype(np.float32)
    shown = layer_affine(Image(data, scale=(2, -1, -1)))
    for turned in (
        Image(data, scale=(2, 1, 1), rotate=np.diag([1.0, -1, -1])),
        Image(data, affine=np.diag([2.0, -1, -1, 1])),
        Image(data, scale=(2, -1, 1), affine=np.diag([1.0, 1, -1, 1])),
    ):
        np.testing.assert_allclose(layer_affine(turned), shown)
    swapped = np.eye(4)[[0, 2, 1, 3]]  # the window's rows are the array's columns
    np.testing.assert_allclose(
        layer_affine(Image(data, affine=swapped)), [[0, -1, 0, 0], [0, 0, -1, 0], [1, 0, 0, 0], [0, 0, 0, 1]]
    )
    sheared = layer_affine(Image(data, shear=(0, 0, 0.5)))
    np.testing.assert_allclose(sheared[:3, :3], [[0, 0, -1], [0, -1, -0.5], [1, 0, 0]])


@pytest.mark.parametrize(
    "layer, line",
    [
        (Image(np.zeros((5, 6)), name="x"), "'x' is 2-D; expected one 3-D volume."),
        (Image(np.zeros((2, 5, 6, 7)), name="x"), "'x' is 4-D; expected one 3-D volume."),
        (Image(np.zeros((5, 6, 7, 3)), rgb=True, name="x"), "'x' is RGB; expected one 3-D volume."),
        (Labels(np.zeros((5, 6, 7), int), name="x"), "'x' is a Labels layer; expected one 3-D volume."),
        (
            Image([np.zeros((8, 8, 8)), np.zeros((4, 4, 4))], multiscale=True, name="x"),
            "'x' is multiscale; expected one 3-D volume.",
        ),
    ],
)
def test_refusals(layer, line: str) -> None:
    with pytest.raises(VolumeError) as caught:
        check_layer(layer)
    assert str(caught.value) == line


def test_lazy_arrays_are_read() -> None:
    dask = pytest.importorskip("dask.array")
    data = RNG.random((4, 5, 6)).astype(np.float32)
    layer = Image(dask.from_array(data, chunks=2))
    check_layer(layer)
    volume = LayerSource(layer.data, layer_affine(layer), "lazy", Contrast.T1).volume()
    np.testing.assert_array_equal(volume.data, data)


@pytest.mark.parametrize(
    "keywords, contrast",
    [
        ({"name": "sub-01_T2w"}, Contrast.T2),
        ({"name": "IXI002-Guys-0828-PD"}, Contrast.PD),
        ({"name": "brain"}, None),
        ({"name": "sub-01_T2w_seg"}, None),
        ({"name": "x", "metadata": {"mrtrans": {"kind": "mean", "target": "FLAIR"}}}, Contrast.FLAIR),
    ],
)
def test_contrast_is_guessed_from_name_and_record(keywords, contrast) -> None:
    assert guess_layer_contrast(Image(np.zeros((4, 5, 6)), **keywords)) == contrast


def test_std_and_samples_of_ours_are_no_sources() -> None:
    for kind, offered in (("mean", True), ("std", False), ("samples", False)):
        layer = Image(np.zeros((4, 5, 6)), metadata={"mrtrans": {"kind": kind, "target": "T2"}})
        assert is_candidate(layer) is offered
    assert not is_candidate(Labels(np.zeros((4, 5, 6), int)))


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1), (1, 2, 0)])
@pytest.mark.parametrize("scale", [(1, 1, 1), (-3, -1, -2)])
def test_slice_on_screen_and_back(order, scale) -> None:
    viewer = ViewerModel()
    layer = viewer.add_image(np.zeros((9, 10, 11)), scale=scale, translate=(40, -20, 7))
    viewer.dims.order = order
    axis = order[0]
    for index in (0, 3, 8):
        show_slice(viewer, layer, axis, index)
        assert slice_on_screen(viewer, layer, axis) == index
    # The whole way of the slider, against the index where the scale is negative.
    steps = range(viewer.dims.nsteps[axis])
    seen = []
    for step in steps:
        viewer.dims.set_current_step(axis, step)
        seen.append(slice_on_screen(viewer, layer, axis))
    assert seen == (list(steps) if scale[axis] > 0 else list(steps)[::-1])


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (3, 0, 1, 2), (2, 3, 0, 1), (1, 2, 3, 0)])
def test_a_voxel_is_shown_also_where_the_axis_of_samples_is(order) -> None:
    viewer = ViewerModel()
    layer = viewer.add_image(np.zeros((9, 10, 11)), scale=(1, 2, 3))
    viewer.add_image(np.zeros((4, 9, 10, 11)), scale=(1, 1, 2, 3))
    viewer.dims.order = order
    viewer.dims.set_point(0, 2)
    show_voxel(viewer, layer, np.array([3, 4, 5]))
    place = {0: 2, 1: 3, 2: 8, 3: 15}
    for dim in viewer.dims.not_displayed:
        assert viewer.dims.point[dim] == place[dim]
    assert viewer.scene.camera.center[-2:] == tuple(place[dim] for dim in viewer.dims.displayed)


def test_slice_outside_a_layer_is_clipped() -> None:
    viewer = ViewerModel()
    layer = viewer.add_image(np.zeros((9, 10, 11)))
    viewer.add_image(np.zeros((30, 10, 11)))
    viewer.dims.set_point(0, 25)
    assert slice_on_screen(viewer, layer, 0) == 8


def test_sample_lies_as_napari_nifti_would_lay_it(tmp_path: Path) -> None:
    from napari_mrtrans.scan.sample import sample_volume

    volume = sample_volume()
    path = tmp_path / "icbm152_T1w.nii.gz"
    nib.Nifti1Image(volume.data, volume.affine).to_filename(path)
    data, keywords = open_nifti(path)
    ours, our_keywords, kind = icbm152()[0]
    assert kind == "image"
    np.testing.assert_array_equal(ours, data)
    np.testing.assert_allclose(our_keywords["scale"], keywords["scale"])
    np.testing.assert_allclose(our_keywords["translate"], keywords["translate"])
    np.testing.assert_allclose(our_keywords["metadata"]["affine"], keywords["metadata"]["affine"])
    assert our_keywords["metadata"]["coordinate_system"] == keywords["metadata"]["coordinate_system"]


def test_a_layer_counts_in_the_unit_of_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As from the command line: the unit of the header where that makes a head, one line where nothing does."""
    from napari_mrtrans.scan import field_of_view
    from napari_mrtrans.scan.volume import Volume
    from napari_mrtrans.widgets.source import layer_header, scanner_affine

    monkeypatch.setattr(field_of_view, "HEAD_MM", (40.0, 500.0))
    path = tmp_path / "sub-01_T1w.nii.gz"
    for size, unit, refused in ((8000.0, "micron", False), (8.0, "micron", False), (8000.0, "mm", True)):
        image = nib.Nifti1Image(RNG.random((15, 16, 7)).astype(np.float32), np.diag([size, size, size, 1]))
        image.header.set_xyzt_units(unit)
        image.to_filename(path)
        voxels, keywords = open_nifti(path)
        layer = Image(voxels, **keywords)
        source = LayerSource(layer.data, layer_affine(layer), layer.name, Contrast.T1, layer_header(layer))
        if refused:
            with pytest.raises(VolumeError, match="which no head is: 40 to 500 mm are expected"):
                source.volume()
            continue
        np.testing.assert_allclose(source.volume().voxel_sizes, 8.0, rtol=1e-6)
        np.testing.assert_allclose(source.volume().affine, scanner_affine(layer), rtol=1e-6)
        assert len(source.volume().notices) == len(Volume.load(path).notices) == (size == 8.0)


def test_a_fourth_axis_with_one_entry_is_refused_with_a_remedy() -> None:
    with pytest.raises(
        VolumeError, match=r"is 4-D; expected one 3-D volume\. Its fourth axis holds just one: drop it, or"
    ):
        check_layer(Image(np.zeros((4, 5, 6, 1))))

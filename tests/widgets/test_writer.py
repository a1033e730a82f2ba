"""File > Save keeps the affine and the grid, of results, samples and labels, whatever the orientation of the file."""

from __future__ import annotations

import itertools
import json

import nibabel as nib
import numpy as np
import pytest
from napari.layers import Image, Labels
from napari.layers._layer_actions import _merge_stack
from napari.layers._source import Source
from napari_nifti import napari_get_reader

from napari_mrtrans.errors import MrtransError, VolumeError
from napari_mrtrans.widgets import writer
from napari_mrtrans.widgets.assumed import AXIAL_KEY
from napari_mrtrans.widgets.frame_row import frame_axis, frame_of
from napari_mrtrans.widgets.placement import drawn_on, inherited, with_sample_axis
from napari_mrtrans.widgets.reopened import is_still, made_of
from napari_mrtrans.widgets.source import RESULT_KEY, is_candidate, layer_affine, nifti_affine, result_record
from napari_mrtrans.widgets.writer import write_nifti

from .test_source import AFFINES

RNG = np.random.default_rng(1)


def opened(tmp_path, affine, shape=(5, 6, 7)):
    """A file, and the layer that napari-nifti makes of it."""
    path = tmp_path / "sub-01_T1w.nii.gz"
    nib.Nifti1Image(RNG.random(shape).astype(np.float32), affine).to_filename(path)
    data, keywords, _ = napari_get_reader(str(path))(str(path))[0]
    return nib.load(path), Image(data, name="sub-01_T1w", **keywords)


def written(tmp_path, layer, name="saved.nii.gz"):
    """What the writer makes of a layer."""
    path = tmp_path / "out" / name
    data, attributes, _ = layer.as_layer_data_tuple()
    assert write_nifti(str(path), data, attributes) == [str(path)]
    return nib.load(path)


@pytest.mark.parametrize("name", AFFINES)
def test_a_layer_goes_back_onto_the_grid_of_its_file(tmp_path, name):
    file, layer = opened(tmp_path, AFFINES[name])
    image = written(tmp_path, layer)
    assert image.shape == file.shape
    np.testing.assert_array_equal(image.affine, file.affine)
    np.testing.assert_array_equal(image.get_fdata(), file.get_fdata())


@pytest.mark.parametrize("suffix", ["saved.nii", "saved.nii.gz"])
def test_samples_go_last(tmp_path, suffix):
    file, layer = opened(tmp_path, AFFINES["oblique"])
    stack = np.stack([layer.data, layer.data / 2])
    placement = with_sample_axis(inherited(layer))
    placement["metadata"][RESULT_KEY] = {"kind": "samples"}
    image = written(tmp_path, Image(stack, **placement), suffix)
    np.testing.assert_array_equal(image.affine, file.affine)
    np.testing.assert_allclose(image.get_fdata()[..., 1], file.get_fdata() / 2, rtol=1e-6)


def test_what_was_not_computed_is_written_as_0(tmp_path):
    _, layer = opened(tmp_path, AFFINES["RAS"])
    data = layer.data.copy()
    data[2] = np.nan
    placement = inherited(layer)
    placement["metadata"][RESULT_KEY] = {"kind": "mean"}
    values = written(tmp_path, Image(data, **placement)).get_fdata()
    np.testing.assert_array_equal(values[..., 2], 0)
    assert np.isfinite(values).all()


def test_what_is_masked_is_unknown(tmp_path):
    """And of labels, nothing is marked there."""
    _, layer = opened(tmp_path, AFFINES["RAS"])
    masked = np.ma.masked_array(np.full(layer.data.shape, 3, np.int16), np.zeros(layer.data.shape, bool))
    masked[2] = np.ma.masked
    image = written(tmp_path, Image(masked, **inherited(layer)))
    values = image.get_fdata()
    assert image.get_data_dtype() == np.float32 and np.isnan(values[..., 2]).all() and (values[..., 3:] == 3).all()
    image = written(tmp_path, Labels(masked, **inherited(layer)))
    assert image.get_data_dtype() == np.uint8 and not image.get_fdata()[..., 2].any()
    frame = frame_of(Image(np.ma.stack([masked, masked])), 0, 1)
    np.testing.assert_array_equal(np.isnan(frame.data), masked.mask)


def test_a_crop_lies_where_it_was(tmp_path):
    """Its metadata still holds the header of the whole image, whose grid it does not have."""
    file, _ = opened(tmp_path, AFFINES["oblique"])
    metadata = {"affine": file.affine, "header": file.header}
    image = written(tmp_path, Image(file.get_fdata()[:3], metadata=metadata))
    assert image.shape == (3, 6, 7)
    np.testing.assert_allclose(image.affine, file.affine, atol=1e-6)


def test_a_moved_layer_does_not_get_the_place_of_the_file(tmp_path):
    file, _ = opened(tmp_path, AFFINES["RAS"])
    moved = file.affine.copy()
    moved[0, 3] += 0.5
    image = written(tmp_path, Image(file.get_fdata(), metadata={"affine": moved, "header": file.header}))
    np.testing.assert_allclose(image.affine, moved, atol=1e-6)


def test_an_array_without_an_affine_keeps_its_voxel_size(tmp_path):
    image = written(tmp_path, Image(RNG.random((4, 5, 6)), scale=(3, 1, 2)))
    np.testing.assert_allclose(image.header.get_zooms(), (3, 1, 2))
    assert nib.aff2axcodes(image.affine) == ("S", "P", "L")


@pytest.mark.parametrize(
    "values, kind", [([0, 1], np.uint8), ([-1, 300], np.int16), ([0, 70_000], np.int32), ([0, 2**40], np.float64)]
)
def test_labels_are_written_without_loss(tmp_path, values, kind):
    data = np.zeros((4, 5, 6), int)
    data[1, 2, 3:5] = values
    image = written(tmp_path, Labels(data))
    assert image.get_data_dtype() == kind
    np.testing.assert_array_equal(np.asarray(image.dataobj), data)


@pytest.mark.parametrize(
    "layer, line",
    [
        (Image(np.zeros((4, 5))), "'x' is 2-D; expected a 3-D volume, or 4-D samples, of real numbers."),
        (Image(np.zeros((4, 5, 6, 3)), rgb=True), "'x' is RGB; NIfTI takes one scalar volume."),
        (Image([np.zeros((8, 8, 8)), np.zeros((4, 4, 4))], multiscale=True), "'x' is multiscale; NIfTI takes"),
    ],
)
def test_what_is_no_volume_is_refused(tmp_path, layer, line):
    layer.name = "x"
    with pytest.raises(VolumeError, match=line):
        written(tmp_path, layer)


def test_a_place_that_cannot_be_written_is_told(tmp_path):
    (tmp_path / "out").write_text("a file")
    with pytest.raises(MrtransError, match="Choose another place"):
        written(tmp_path, Image(np.zeros((4, 5, 6))))


def test_saved_from_napari_as_a_person_would(bench, engine, tmp_path):
    """Open, transform, paint, File > Save: all three files lie on the grid of the source."""
    path = tmp_path / "sub-01_T1w.nii.gz"
    voxels = np.pad(RNG.random((4, 5, 6), np.float32) + 1, 2)
    nib.Nifti1Image(voxels, AFFINES["oblique"]).to_filename(path)
    source = nib.load(path)
    bench.viewer.open(str(path), plugin="napari-nifti")
    bench.run()
    roi = bench.viewer.add_labels(np.zeros(bench.viewer.layers[0].data.shape, int), name="roi")
    for key in ("scale", "translate"):
        setattr(roi, key, getattr(bench.viewer.layers[0], key))
    roi.paint((4, 4, 4), 2)
    for layer, factor in ((bench.layer("sub-01_T1w_T2_mean"), 1 / 200), (roi, None)):
        saved = layer.save(str(tmp_path / layer.name) + ".nii.gz", plugin="napari-mrtrans")
        image = nib.load(saved[0])
        assert image.shape == source.shape
        np.testing.assert_array_equal(image.affine, source.affine)
        if factor is not None:
            np.testing.assert_allclose(image.get_fdata(), source.get_fdata() * factor, rtol=1e-5)
    painted = np.argwhere(np.asarray(image.dataobj))
    in_layer = np.argwhere(np.asarray(roi.data))
    assert len(painted) == len(in_layer) > 0
    there = nib.affines.apply_affine(source.affine, painted)
    from napari_mrtrans.widgets.source import layer_affine

    expected = nib.affines.apply_affine(layer_affine(bench.viewer.layers[0]), in_layer)
    assert {tuple(point) for point in there.round(2)} == {tuple(point) for point in expected.round(2)}


def test_what_is_written_of_a_result_says_so_and_tells_no_names(tmp_path):
    file, layer = opened(tmp_path, AFFINES["oblique"])
    layer.metadata["header"]["descrip"] = b"Doe^Jane 1970"
    layer.metadata["header"].set_intent("label", name="Doe")
    record = {"kind": "mean", "source": "T1", "target": "T2", "checkpoint": "t1-t2-flair-flow", "n": 20}
    layer.metadata[RESULT_KEY] = record
    image = written(tmp_path, layer)
    assert image.header["descrip"].item() == b"synthetic T2 from T1, t1-t2-flair-flow, n=20"
    assert image.header.get_intent() == ("none", (), "")
    np.testing.assert_array_equal(image.affine, file.affine)


@pytest.mark.parametrize(
    ("more", "said", "kind"),
    [
        ({"kind": "std", "std": "population"}, b"std ", "std"),
        ({"kind": "std", "std": "calibrated"}, b"std-calibrated ", "std"),
        ({"kind": "error"}, b"error ", "error"),
        ({"kind": "samples"}, b"samples ", "samples"),
        ({"kind": "film"}, b"film ", "film"),
    ],
)
def test_what_is_written_says_which_part_of_a_result_it_is(tmp_path, more, said, kind):
    _, layer = opened(tmp_path, AFFINES["oblique"])
    layer.metadata[RESULT_KEY] = {"source": "T1", "target": "T2", "checkpoint": "many-flow", "n": 20, **more}
    image = written(tmp_path, layer)
    assert image.header["descrip"].item() == b"synthetic T2 " + said + b"from T1, many-flow, n=20"
    data, keywords, _ = napari_get_reader(str(tmp_path / "out/saved.nii.gz"))(str(tmp_path / "out/saved.nii.gz"))[0]
    again = Image(data, name="saved", **keywords)
    again._source = again.source.model_copy(update={"path": str(tmp_path / "out" / "saved.nii.gz")})
    assert result_record(again) == {"target": "T2", "reopened": True, **more, "kind": kind}
    assert not is_candidate(again)


def test_what_is_marked_on_a_result_is_none(tmp_path):
    _, layer = opened(tmp_path, AFFINES["oblique"])
    layer.metadata[RESULT_KEY] = {"source": "T1", "target": "T2", "checkpoint": "many-flow", "n": 20, "kind": "mean"}
    for placement in (drawn_on(layer), inherited(layer)):
        image = written(tmp_path, Labels(np.ones(layer.data.shape, np.uint8), **placement))
        assert image.header["descrip"].item() == b""


@pytest.mark.parametrize("name", ["RAS", "oblique"])
@pytest.mark.parametrize("beside", ["two images", "samples"])
def test_what_is_painted_on_a_layer_of_napari_s_own_lies_where_it_was_seen(make_napari_viewer, tmp_path, name, beside):
    """Beside several layers napari makes labels with a placement of its own, beside samples such with an axis more."""
    viewer = make_napari_viewer()
    _, layer = opened(tmp_path, AFFINES[name])
    viewer.add_layer(layer)
    if beside == "samples":
        placement = with_sample_axis(inherited(layer))
        placement["metadata"][RESULT_KEY] = {"kind": "samples"}
        viewer.layers.selection.active = viewer.add_image(np.stack([layer.data] * 2), **placement)
    else:
        viewer.layers.selection = {layer, viewer.add_image(layer.data / 2, **inherited(layer))}
    viewer._new_labels()
    labels = viewer.layers[-1]
    voxel = (3, 2, 4)
    painted = np.round(labels.world_to_data(layer.data_to_world(voxel))).astype(int)[-3:]
    labels.data[(0,) * (labels.ndim - 3) + tuple(painted)] = 1
    image = written(tmp_path, labels)
    assert image.ndim == 3
    place = nib.affines.apply_affine(image.affine, np.argwhere(image.get_fdata() > 0)[0])
    expected = nib.affines.apply_affine(layer_affine(layer), voxel)
    half = np.abs(image.affine[:3, :3]).sum(axis=1) / 2 if beside == "two images" else 1e-3
    assert (np.abs(place - expected) <= half + 1e-3).all()


def test_a_place_that_nothing_says_is_a_warning(make_napari_viewer, tmp_path, capsys):
    viewer = make_napari_viewer()
    labels = viewer.add_labels(np.eye(4, dtype=np.uint8)[None].repeat(3, axis=0), name="roi")
    written(tmp_path, labels)
    assert "No open image says where 'roi' lies in the scanner" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["LPS", "oblique"])
def test_what_is_moved_by_hand_is_told_not_to_count(tmp_path, name, monkeypatch):
    told = []
    monkeypatch.setattr(writer, "show_warning", told.append)
    file, layer = opened(tmp_path, AFFINES[name])
    written(tmp_path, layer)
    assert told == []
    layer.translate = np.add(layer.translate, (0, 3, 0))
    np.testing.assert_array_equal(written(tmp_path, layer).affine, file.affine)
    assert told == [
        "'sub-01_T1w' was moved or scaled in the window, which does not count: it lies where its file says."
    ]


def test_a_plain_image_does_not_get_the_place_of_a_file_that_it_happens_to_lie_on(make_napari_viewer, tmp_path, capsys):
    """A part that was cut out of a file does."""
    viewer = make_napari_viewer()
    _, file = opened(tmp_path, AFFINES["LPS"], (20, 20, 20))
    viewer.add_layer(file)
    place = {"scale": np.divide(file.scale, 2), "translate": file.translate}
    plain = viewer.add_image(RNG.random((5, 6, 7)), name="plain", **place)
    painted = viewer.add_labels(np.ones((5, 6, 7), int), name="roi", **place)
    for layer in (plain, painted):
        np.testing.assert_array_equal(written(tmp_path, layer).affine, layer_affine(plain))
        assert f"No open image says where '{layer.name}' lies" in capsys.readouterr().out
    part = viewer.add_image(file.data[2:], **inherited(file))
    cut = viewer.add_image(file.data[2:], name="cut", scale=file.scale)  # by a program that keeps the voxels alone
    expected = layer_affine(file) @ nib.affines.from_matvec(np.eye(3), (2, 0, 0))
    for layer in (part, cut):
        layer.translate = file.data_to_world((2, 0, 0))
        np.testing.assert_allclose(written(tmp_path, layer).affine, expected, atol=1e-4)
        viewer.layers.remove(layer)


@pytest.mark.parametrize("name", ["LPS", "oblique"])
@pytest.mark.parametrize("how", ["binned", "repeated", "flipped", "turned"])
def test_an_image_that_another_program_resampled_keeps_its_place(tmp_path, monkeypatch, name, how):
    """It has other voxels than the file, but its extent."""
    _, file = opened(tmp_path, AFFINES[name], (20, 22, 24))
    told = []
    monkeypatch.setattr(writer, "show_warning", told.append)
    monkeypatch.setattr(writer, "_open_layers", lambda: [file])
    voxels, first = {
        "binned": (np.diag([2, 2, 2]), (0.5, 0.5, 0.5)),
        "repeated": (np.diag([0.5, 1, 1]), (-0.25, 0, 0)),
        "flipped": (np.diag([-1, 1, 1]), (file.data.shape[0] - 1, 0, 0)),
        "turned": (np.array([[0, 0, 1], [0, 1, 0], [1, 0, 0]]), (0, 0, 0)),
    }[how]
    onto = nib.affines.from_matvec(voxels, first)
    shape = np.round(np.abs(np.linalg.inv(voxels)) @ file.data.shape).astype(int)
    world = nib.affines.from_matvec(np.diag(file.scale), file.translate)
    layer = Image(RNG.random(shape), name="other", affine=file.affine.affine_matrix @ world @ onto)
    np.testing.assert_allclose(written(tmp_path, layer).affine, layer_affine(file) @ onto, atol=1e-4)
    assert told == []


def test_a_volume_of_three_columns_is_no_picture_in_colours(tmp_path):
    file, layer = opened(tmp_path, AFFINES["LPS"], (3, 6, 7))
    image = Image(
        layer.data, rgb=False, name="thin", scale=layer.scale, translate=layer.translate, metadata=layer.metadata
    )
    np.testing.assert_array_equal(written(tmp_path, image).affine, file.affine)


def test_what_lies_on_a_plain_array_is_saved_as_it_is(make_napari_viewer, tmp_path):
    """Its result as well, whatever file else is open there."""
    viewer = make_napari_viewer()
    plain = viewer.add_image(RNG.random((5, 6, 7)), name="a_T1w", scale=(2, 2, 2), metadata={AXIAL_KEY: 2})
    made = {**inherited(plain), "metadata": {AXIAL_KEY: 2, RESULT_KEY: {"kind": "mean", "target": "T2"}}}
    viewer.add_image(plain.data, name="a_T2w", scale=(2, 2, 2))
    viewer.add_labels(np.ones((5, 6, 7), int), name="roi", scale=(2, 2, 2))
    viewer.add_image(plain.data, name="a_T1w_T2_mean", **made)
    _, file = opened(tmp_path, AFFINES["LPS"], (20, 20, 20))
    for beside in (None, file):
        if beside is not None:
            beside.translate = (0, 0, 0)
            beside.scale = (1, 1, 1)
            viewer.add_layer(beside)
        for layer in list(viewer.layers)[:4]:
            np.testing.assert_array_equal(written(tmp_path, layer).affine, layer_affine(plain), layer.name)


@pytest.mark.parametrize("name", ["RAS", "LPS", "PSR", "oblique"])
def test_a_part_cut_out_of_a_file_does_not_lie_where_the_whole_does(make_napari_viewer, tmp_path, name, capsys):
    viewer = make_napari_viewer()
    _, whole = opened(tmp_path, AFFINES[name], (5, 6, 8))
    part = Image(whole.data[2:], name="part", **inherited(whole))
    assert nifti_affine(whole) is not None and nifti_affine(part) is None
    part.translate = whole.data_to_world((2, 0, 0))
    viewer.add_layer(part)
    written(tmp_path, part)
    assert "No open image says where 'part' lies" in capsys.readouterr().out
    viewer.add_layer(whole)
    expected = layer_affine(whole) @ nib.affines.from_matvec(np.eye(3), (2, 0, 0))
    np.testing.assert_allclose(written(tmp_path, part).affine, expected, atol=1e-4)


@pytest.mark.parametrize("name", AFFINES)
@pytest.mark.parametrize("frames", [(), (4,)])
def test_axes_in_another_order_are_not_those_of_the_file(tmp_path, name, frames):
    _, layer = opened(tmp_path, AFFINES[name], (5, 6, 8, *frames))
    rest = range(3, layer.ndim)
    for order in itertools.permutations(range(3)):
        turned = Image(layer.data.transpose(*order, *rest), **inherited(layer))
        assert (nifti_affine(turned) is not None) == (order == (0, 1, 2))


@pytest.mark.parametrize("name", AFFINES)
def test_a_4d_file_goes_back_onto_its_grid(tmp_path, name):
    """Samples that were saved and opened again, above all: their reader leaves an affine of four axes."""
    file, layer = opened(tmp_path, AFFINES[name], (5, 6, 7, 4))
    image = written(tmp_path, layer)
    np.testing.assert_array_equal(image.get_fdata(), file.get_fdata())
    np.testing.assert_allclose(image.affine, file.affine, atol=1e-5)


def test_a_frame_of_a_turned_layer_lies_where_it_lay():
    turn = np.radians(20)
    rotate = np.eye(4)
    rotate[2:, 2:] = [[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]
    layer = Image(
        RNG.random((3, 4, 5, 6)),
        rotate=rotate,
        scale=(1, 2, 1, 1.5),
        translate=(0, 1, 2, 3),
        shear=[0, 0, 0, 0, 0, 0.2],
    )
    frame = frame_of(layer, 0, 1)
    np.testing.assert_allclose(frame.data_to_world((3, 2, 1)), layer.data_to_world((1, 3, 2, 1))[1:])


def test_another_result_saved_in_the_place_of_an_open_one_is_another_run(tmp_path):
    report = {"checkpoint": "x", "input": "sub-01_T1w", "target": "T2", "seed": 0}
    layers = []
    for seed in (0, 1):
        (tmp_path / "a_T2.json").write_text(json.dumps(report | {"seed": seed}))
        layer = Image(RNG.random((4, 5, 6)))
        layer._source = Source(path=str(tmp_path / "a_T2_mean.nii.gz"))
        layers.append((layer, dict(result_record(layer))))
    (_, first), (_, second) = layers
    assert first["report"] == second["report"] and first["run"] != second["run"]
    assert is_still(second) and not is_still(first)


@pytest.mark.parametrize("kind", [None, "mean"])
@pytest.mark.parametrize("name", ["RAS", "oblique"])
def test_a_stack_that_napari_makes_has_its_frames_first(make_napari_viewer, tmp_path, name, kind):
    """Of files, or of our own means; what is painted beside it lies as it does."""
    viewer = make_napari_viewer()
    file, layer = opened(tmp_path, AFFINES[name])
    if kind is not None:
        layer.metadata[RESULT_KEY] = {"kind": kind}
    twice = Image(layer.data * 2, name="twice", **inherited(layer))
    for one in (layer, twice):
        viewer.add_layer(one)
    viewer.layers.selection = {layer, twice}
    _merge_stack(viewer.layers)
    (stack,) = viewer.layers
    assert frame_axis(stack) == 0 and stack.data.shape[0] == 2
    np.testing.assert_array_equal(frame_of(stack, 0, 1).data, twice.data)
    labels = viewer.add_labels(np.zeros(stack.data.shape, int), scale=stack.scale, translate=stack.translate)
    labels.data[1] = layer.data > 0.5
    for made, values in ((stack, file.get_fdata() * 2), (labels, file.get_fdata() > 0.5)):
        image = written(tmp_path, made)
        np.testing.assert_allclose(image.affine, file.affine, atol=1e-6)
        np.testing.assert_allclose(image.get_fdata()[..., 1], values, rtol=1e-6)
    # Without an affine, what our own record says is left.
    if kind is not None:
        plain = Image(np.ones((2, 5, 6, 7)), scale=(1, 3, 1, 2), metadata={RESULT_KEY: {"kind": kind}})
        image = written(tmp_path, plain)
        assert image.shape == (5, 6, 7, 2) and image.header.get_zooms()[:3] == (3, 1, 2)


def test_what_is_painted_beside_samples_that_were_opened_again_is_one_volume(make_napari_viewer, tmp_path):
    viewer = make_napari_viewer()
    file, layer = opened(tmp_path, AFFINES["oblique"], (5, 6, 7, 4))
    layer.metadata[RESULT_KEY] = {"kind": "samples", "reopened": True}
    viewer.add_layer(layer)
    data = np.zeros(layer.data.shape, int)
    data[..., 2] = layer.data[..., 2] > 0.5
    image = written(tmp_path, viewer.add_labels(data, scale=layer.scale, translate=layer.translate))
    np.testing.assert_array_equal(image.get_fdata(), file.get_fdata()[..., 2] > 0.5)
    np.testing.assert_allclose(image.affine, file.affine, atol=1e-5)


def test_a_result_of_a_folder_of_dicom_is_of_one_of_its_series(tmp_path):
    folder = tmp_path / "study"
    folder.mkdir()
    report = {"checkpoint": "x", "input": str(folder), "target": "T2", "roi": {"only": True}}
    (tmp_path / "study_series-3_T1w_T2.json").write_text(json.dumps(report))
    mean = Image(RNG.random((4, 5, 6)))
    mean._source = Source(path=str(tmp_path / "study_series-3_T1w_T2_mean.nii.gz"))
    record = result_record(mean)
    assert record["input"] == "study_series-3_T1w" and record["roi_only"]
    scan = Image(RNG.random((4, 5, 6)))
    scan._source = Source(path=str(folder))
    assert made_of(record, scan, "study_series-3_T1w")
    assert not made_of(record, scan, "study_series-7_T1w")
    scan._source = Source(path=str(tmp_path / "other" / "study"))
    assert not made_of(record, scan, "study_series-3_T1w")

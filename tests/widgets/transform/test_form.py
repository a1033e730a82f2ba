"""The form: what it offers, what it guesses, what it refuses; and layers opened through the real reader."""

from __future__ import annotations

import re
import subprocess
import sys

import nibabel as nib
import numpy as np
import pytest
from napari.layers import Image
from qtpy.QtCore import QEvent, Qt
from qtpy.QtWidgets import QApplication

from napari_mrtrans.errors import CheckpointError, OutOfMemory
from napari_mrtrans.scan.contrasts import Contrast, Pair
from napari_mrtrans.widgets.adapt.pairs import LayerPairs
from napari_mrtrans.widgets.source import axial_axis, layer_affine, show_axial
from napari_mrtrans.widgets.state import DockState
from napari_mrtrans.widgets.transform.advanced import SAMPLER_NAMES
from napari_mrtrans.widgets.wording import for_window

from ..conftest import write_card
from ..test_source import AFFINES


def texts(combo):
    return [combo.itemText(i) for i in range(combo.count())]


def test_sampler_names_are_the_engines():
    from napari_mrtrans.models.sampler_plan import SAMPLERS

    assert tuple(SAMPLERS) == SAMPLER_NAMES


def test_importing_the_dock_does_not_import_torch():
    code = "import sys, napari_mrtrans.widgets.transform.dock; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_without_an_image_the_dock_says_how_to_get_one(bench, engine):
    assert bench.dock.state is DockState.NO_IMAGE
    assert not bench.dock.button.isEnabled()
    assert "Open Sample" in bench.dock.message.text() and "napari-nifti" in bench.dock.message.text()


def removed_while_it_was_computed(bench, engine, brain):
    """An image that the dock still names after its run was cancelled."""
    source = bench.viewer.add_image(brain, name="a_T1w")
    engine.pace = 0.2
    bench.press()
    bench.viewer.layers.remove(source)
    bench.press()
    bench.qtbot.waitUntil(lambda: not bench.dock.state.busy)
    return source


def test_an_image_that_is_opened_takes_the_place_of_one_that_was_deleted(bench, engine, brain):
    removed_while_it_was_computed(bench, engine, brain)
    for layer in list(bench.viewer.layers):
        bench.viewer.layers.remove(layer)
    combo = bench.dock.form.image
    assert texts(combo) == ["a_T1w"] and not bench.dock.button.isEnabled()
    opened = bench.viewer.add_image(brain, name="b_T1w")
    assert combo.layer is opened and texts(combo) == ["b_T1w"]
    assert bench.dock.button.isEnabled()


def test_image_combo_follows_the_layers(bench, engine, brain):
    combo = bench.dock.form.image
    first = bench.viewer.add_image(brain, name="a_T1w")
    assert bench.dock.state is DockState.READY
    second = bench.viewer.add_image(brain, name="b_T2w")
    bench.viewer.add_labels(np.zeros(brain.shape, int), name="roi")
    assert texts(combo) == ["a_T1w", "b_T2w"]
    assert combo.layer is first
    combo.choose(second)
    second.name = "c_T2w"
    assert texts(combo) == ["a_T1w", "c_T2w"]
    assert combo.layer is second
    bench.viewer.layers.move(1, 0)
    assert texts(combo) == ["c_T2w", "a_T1w"]
    assert combo.layer is second
    bench.viewer.layers.remove(second)
    assert combo.layer is first
    bench.viewer.layers.clear()
    assert bench.dock.state is DockState.NO_IMAGE


def test_a_mask_that_was_opened_as_an_image_is_chosen_by_hand_only(bench, engine, brain):
    combo = bench.dock.form.image
    mask = bench.viewer.add_image(brain > 0, name="a_T1w_brainmask")
    assert combo.layer is None and texts(combo) == ["a_T1w_brainmask"]
    assert bench.dock.state is DockState.NO_IMAGE and not bench.dock.button.isEnabled()
    assert bench.dock.form.problem == "Choose the image above: what is open is called like a mask."
    first, second = (bench.viewer.add_image(brain, name=name) for name in ("a_T1w", "b_T1w"))
    assert combo.layer is first
    bench.viewer.layers.remove(first)
    assert combo.layer is second
    bench.viewer.layers.remove(second)
    assert combo.layer is None
    combo.choose(mask)
    mask.name = "b_T1w_brainmask"
    assert combo.layer is mask and bench.dock.state is DockState.READY


def test_a_mask_is_not_taken_in_place_of_an_image_that_is_gone(bench, engine, brain):
    source = removed_while_it_was_computed(bench, engine, brain)
    bench.viewer.add_image(brain > 0, name="b_T1w_brainmask")
    assert bench.dock.form.image.layer is source and not bench.dock.button.isEnabled()
    opened = bench.viewer.add_image(brain, name="b_T1w")
    assert bench.dock.form.image.layer is opened


def test_contrast_is_guessed_and_can_be_corrected(bench, engine, brain):
    form = bench.dock.form
    layer = bench.viewer.add_image(brain, name="sub-01_T2w")
    assert form.source.currentText() == "T2"
    form.source.setCurrentText("T1")
    layer.name = "sub-01_T2w_renamed"
    assert form.source.currentText() == "T1"


def test_another_name_is_no_other_image(bench, engine, brain):
    """How the run ended still stands there, and a name that tells the contrast is read."""
    layer, roi = bench.viewer.add_image(brain, name="scan"), bench.viewer.add_labels(brain > 0, name="roi")
    assert bench.dock.form.problem.startswith("Which contrast is 'scan'?")
    layer.name = "a"
    assert bench.dock.message.text().startswith("Which contrast is 'a'?")
    layer.name = "a_T1w"
    assert bench.dock.form.pair == Pair(Contrast.T1, Contrast.T2)
    bench.dock.form.range.setCurrentText("Slices of a ROI")
    bench.run()
    said = bench.dock.message.text()
    assert bench.dock.state is DockState.DONE and said.startswith("Done")
    layer.name, roi.name = "b_T1w", "lesion"
    assert (bench.dock.state, bench.dock.message.text()) == (DockState.DONE, said)
    assert bench.dock.form.image.toolTip() == "b_T1w (without an affine)"


def test_a_correction_counts_for_its_image_whenever_it_is_chosen(bench, engine, brain):
    form = bench.dock.form
    pairs = LayerPairs(bench.viewer)
    bench.qtbot.addWidget(pairs)
    first, second = (bench.viewer.add_image(brain, name=f"sub-0{number}_T1w") for number in (1, 2))
    for image, contrast in ((form.image, form.source), (pairs.source.image, pairs.source.contrast)):
        image.choose(first)
        contrast.setCurrentText("T2")
        image.choose(second)
        assert contrast.currentText() == "T1"
        image.choose(first)
        assert contrast.currentText() == "T2"


def test_unknown_contrast_must_be_chosen(bench, engine, brain, errors):
    bench.viewer.add_image(brain, name="brain")
    assert bench.dock.message.text() == "Which contrast is 'brain'? Choose it above."
    assert not bench.dock.button.isEnabled()
    bench.dock.form.source.setCurrentText("T1")
    assert bench.dock.message.text() == ""
    assert bench.dock.state is DockState.READY


def test_what_an_image_looks_like_is_offered_not_chosen(bench, engine, brain, look):
    look["brain"] = Contrast.FLAIR
    form = bench.dock.form
    bench.viewer.add_image(brain, name="brain")
    bench.qtbot.waitUntil(lambda: "looks like" in bench.dock.message.text())
    assert bench.dock.message.text() == "Which contrast is 'brain'? It looks like FLAIR. Choose it above."
    assert form.source.placeholderText() == "Looks like FLAIR" and form.source.currentIndex() == -1
    named = bench.viewer.add_image(brain, name="sub-01_T2w")
    form.image.choose(named)
    assert form.source.currentText() == "T2"
    form.image.choose(bench.viewer.layers["brain"])  # looked at before
    assert "It looks like FLAIR" in bench.dock.message.text()


def test_an_image_that_goes_while_it_is_looked_at_leaves_no_trace(bench, engine, brain, look):
    look["brain"] = Contrast.FLAIR
    layer = bench.viewer.add_image(brain, name="brain")
    bench.viewer.layers.remove(layer)
    bench.viewer.add_image(brain, name="other")
    bench.qtbot.wait(200)
    assert bench.dock.form.source.placeholderText() == "Choose…"


def test_targets_and_models_follow_the_installed_checkpoints(bench, engine, brain):
    form = bench.dock.form
    bench.viewer.add_image(brain, name="a_T1w")
    assert texts(form.target) == ["T2", "FLAIR"]
    assert texts(form.model) == ["flow · T1→T2", "direct · T1→T2"]
    form.target.setCurrentText("FLAIR")
    assert texts(form.model) == ["flow · T1→FLAIR"]
    form.source.setCurrentText("T2")
    assert texts(form.target) == ["T1"]
    assert texts(form.model) == ["flow · T2→T1"]
    assert "many-flow" in form.model.toolTip()
    assert "Phantoms (CC0)" in form.model.toolTip()


def test_two_checkpoints_of_a_family_are_told_apart(bench, engine, checkpoints, brain):
    write_card(checkpoints, "my-flow", "flow", ["T1->T2"])
    bench.viewer.add_image(brain, name="a_T1w")
    bench.dock.form.reload()
    assert texts(bench.dock.form.model)[:2] == ["flow · T1→T2 (many-flow)", "flow · T1→T2 (my-flow)"]


def test_a_contrast_without_checkpoint_is_told(bench, engine, brain, errors):
    bench.viewer.add_image(brain, name="a_PD")
    line = "No checkpoint for PD. Installed: many-flow, one-direct. Train one with napari-mrtrans-train."
    assert bench.dock.message.text() == line
    assert not bench.dock.button.isEnabled()
    with pytest.raises(CheckpointError) as caught:
        bench.dock.form.choose(Contrast.FLAIR, Contrast.PD)
    assert str(caught.value) == (
        "No checkpoint for FLAIR → PD. Installed: many-flow, one-direct. Train one with napari-mrtrans-train."
    )


def test_deterministic_model_switches_sampling_off(bench, engine, brain):
    form = bench.dock.form
    bench.viewer.add_image(brain, name="a_T1w")
    fields = (form.samples, form.advanced._sampler, form.advanced._steps, form.advanced._keep)
    assert all(field.isEnabled() for field in fields)
    form.model.setCurrentText("direct · T1→T2")
    assert not any(field.isEnabled() for field in fields)
    form.model.setCurrentText("flow · T1→T2")
    assert all(field.isEnabled() for field in fields)


@pytest.mark.parametrize(
    "shape, keywords, kind",
    [((20, 16), {}, "2-D"), ((5, 20, 16, 3), {"rgb": True}, "RGB")],
)
def test_other_than_3d_images_are_refused(bench, engine, errors, shape, keywords, kind):
    bench.viewer.add_image(np.ones(shape, np.float32), name="x_T1w", **keywords)
    line = f"'x_T1w' is {kind}; expected one 3-D volume."
    assert bench.dock.message.text() == line
    assert not bench.dock.button.isEnabled()
    bench.dock.start()
    assert errors == [line]
    assert bench.dock.state is DockState.FAILED
    assert engine.requests == []


def stored_as(axes: str, data, path) -> None:
    """A file of R, A, S voxels that lie in it in another order."""
    image = nib.Nifti1Image(data, AFFINES["RAS"])
    turn = nib.orientations.ornt_transform(nib.io_orientation(image.affine), nib.orientations.axcodes2ornt(axes))
    image.as_reoriented(turn).to_filename(path)


@pytest.mark.parametrize("opened", ["RAS", "LAS", "PSR", "array"])
def test_a_frame_of_a_4d_image_is_taken_out(bench, engine, brain, tmp_path, opened):
    brain[2, 3, 5] = 2 * brain.max()  # in no plane of symmetry
    series = np.stack([brain, brain / 2, brain / 4])
    if opened != "array":
        path = tmp_path / "sub-01_T1w.nii.gz"
        stored_as(opened, np.moveaxis(series, (0, 1, 3), (3, 2, 0)), path)
        bench.viewer.open(str(path), plugin="napari-nifti")
    else:
        bench.viewer.add_image(series, name="sub-01_T1w")
    frame = bench.dock.form.frame
    assert bench.dock.message.text().endswith("Choose a frame above.") and not bench.dock.button.isEnabled()
    assert frame.button.isVisible() and frame.number.maximum() == 2
    frame.number.setValue(1)
    bench.qtbot.mouseClick(frame.button, Qt.MouseButton.LeftButton)
    layer = bench.dock.form.layer
    assert layer.name.endswith("[frame 1]") and layer.ndim == 3 and not frame.button.isVisible()
    assert bench.dock.form.pair == Pair(Contrast.T1, Contrast.T2)
    if opened != "array":
        whole = nib.load(path)
        where = np.argwhere(np.asarray(layer.data) == layer.data.max())[0]
        there = np.argwhere(whole.get_fdata()[..., 1] == layer.data.max())[0]
        mine, theirs = (nib.affines.apply_affine(a, v) for a, v in
                        ((layer_affine(layer), where), (whole.affine, there)))  # fmt: skip
        np.testing.assert_allclose(mine, theirs, atol=1e-4)
    else:
        np.testing.assert_array_equal(layer.data, series[1])
    assert bench.dock.button.isEnabled()


def test_the_only_frame_of_a_4d_image_is_taken_by_itself(bench, engine, brain, tmp_path):
    path = tmp_path / "sub-01_T1w.nii.gz"
    nib.Nifti1Image(np.transpose(brain)[..., None], AFFINES["RAS"]).to_filename(path)
    (whole,) = bench.viewer.open(str(path), plugin="napari-nifti")
    form = bench.dock.form
    bench.qtbot.waitUntil(lambda: form.layer is not None and form.layer.ndim == 3)
    assert form.layer.name.endswith("[frame 0]") and not whole.visible and bench.dock.button.isEnabled()
    assert np.sort(form.layer.data, axis=None)[-1] == brain.max()
    # taken once: who chooses the 4-D image by hand may want it again
    bench.viewer.layers.remove(form.layer)
    form.image.choose(whole)
    QApplication.processEvents()
    assert list(bench.viewer.layers) == [whole] and form.frame.button.isVisible()


def test_a_brain_mask_is_chosen_in_the_window(bench, engine, brain):
    bench.viewer.add_image(brain, name="a_T1w")
    painted = bench.viewer.add_labels((brain > 80).astype(int), name="brain")
    bench.dock.form.advanced.brain.choose(painted)
    bench.run()
    np.testing.assert_array_equal(engine.requests[0].request.mask, brain > 80)
    assert "under Advanced" in for_window("No plausible brain found; give a brain mask with --mask.")


def test_settings_reach_the_engine(bench, engine, brain):
    form = bench.dock.form
    bench.viewer.add_image(brain, name="a_T1w")
    bench.viewer.dims.set_point(0, 3)
    bench.run()
    default = engine.requests[0].request
    assert (default.n, default.seed, default.steps, default.sampler) == (20, 0, None, None)
    assert (default.device, default.batch, default.slices, default.start_slice) == ("auto", "auto", None, 3)
    form.samples.setValue(5)
    form.seed.setValue(7)
    form.advanced._steps.setValue(12)
    form.advanced._sampler.setCurrentText("heun")
    form.advanced._device.setCurrentText("cuda:1")
    form.advanced._batch.setValue(4)
    bench.run()
    chosen = engine.requests[1].request
    assert (chosen.n, chosen.seed, chosen.steps, chosen.sampler) == (5, 7, 12, "heun")
    assert (chosen.device, chosen.batch) == ("cuda:1", 4)


def test_three_planes_are_offered_where_the_model_has_them(bench, engine, brain, checkpoints):
    write_card(checkpoints.parent / "shipped", "one-direct.planes", "direct", ["T1->T2"])
    form = bench.dock.form
    bench.viewer.add_image(brain, name="a_T1w")
    form.choose(Contrast.T1, Contrast.T2, "one-direct")
    box = form.advanced._three_planes
    assert box.isEnabled() and not box.isChecked()
    bench.run()
    box.setChecked(True)
    bench.run()
    assert bench.dock._run.label == "direct, three planes"
    form.choose(Contrast.T1, Contrast.T2, "many-flow")
    assert not box.isEnabled()  # ticked still, for direct
    bench.run()
    assert [work.request.three_planes for work in engine.requests] == [False, True, False]
    assert form.model.count() == 2  # the other planes are no model to choose


def test_a_half_typed_device_is_auto(bench, engine):
    bench.dock.form.advanced._device.setCurrentText("cu")
    assert bench.dock.form.advanced.device == "auto"


def test_defaults_of_the_card_are_named(bench, engine, brain):
    bench.viewer.add_image(brain, name="a_T1w")
    assert bench.dock.form.advanced._steps.text() == "default (7)"
    assert bench.dock.form.advanced._sampler.currentText() == "default (dpm++2m)"


def test_results_lie_on_their_source_and_carry_its_metadata(bench, engine, brain):
    layer = bench.viewer.add_image(
        brain,
        name="a_T1w",
        scale=(-3, -1, -2),
        translate=(10, 20, 30),
        rotate=(10, 20, 30),
        shear=(0.1, 0.2, 0.3),
        affine=np.diag([2.0, 1, 1, 1]),
        units=("mm", "mm", "mm"),
        axis_labels=("S", "A", "R"),
        metadata={"patient": "phantom"},
    )
    bench.dock.form.samples.setValue(2)
    bench.dock.form.advanced._keep.setCurrentText("One 4-D layer")
    bench.run()
    checkpoint = bench.dock.form.checkpoint
    for kind in ("mean", "std", "samples"):
        result = bench.layer(f"a_T1w_T2_{kind}")
        for corner in ((0, 0, 0), (11, 0, 5), (3, 19, 15)):
            inside = (0, *corner) if kind == "samples" else corner
            np.testing.assert_allclose(result.data_to_world(inside)[-3:], layer.data_to_world(corner))
        assert result.units[-3:] == layer.units
        assert result.axis_labels[-3:] == layer.axis_labels
        assert result.metadata["patient"] == "phantom"
        assert result.metadata["mrtrans"] == {
            "kind": kind,
            "run": bench.layer("a_T1w_T2_mean").metadata["mrtrans"]["run"],
            "input": "a_T1w",
            "checkpoint": "many-flow",
            "sha256": checkpoint.sha256,
            "model": "flow",
            "source": "T1",
            "target": "T2",
            "seed": 0,
            "n": 2,
            "sampler": "dpm++2m",
            "steps": 7,
            "std": "population",
            "units": checkpoint.card.units,
        }
    assert "mrtrans" not in layer.metadata
    assert bench.layer("a_T1w_T2_std").colormap.name == "magma"


@pytest.mark.parametrize("codes", ["RAS", "LPS", "PSR"])
def test_nifti_file_through_the_real_reader(bench, engine, brain, tmp_path, codes):
    ras = brain.transpose(2, 1, 0)
    ornt = nib.orientations.ornt_transform(
        nib.orientations.axcodes2ornt("RAS"), nib.orientations.axcodes2ornt(tuple(codes))
    )
    affine = np.eye(4) @ nib.orientations.inv_ornt_aff(ornt, ras.shape)
    image = nib.Nifti1Image(nib.orientations.apply_orientation(ras, ornt), affine)
    path = tmp_path / "sub-01_T1w.nii.gz"
    image.to_filename(path)
    (layer,) = bench.viewer.open(path, plugin="napari-nifti")
    bench.dock.form.samples.setValue(2)
    bench.run()
    mean = bench.layer("sub-01_T1w_T2_mean")
    np.testing.assert_allclose(mean.data, np.asarray(layer.data) / 200, rtol=1e-6)
    volume = engine.requests[0].source.volume()
    # Whatever the file's order, the engine sees the slices that the file's affine calls axial.
    assert volume.n_slices == len(brain)


def test_saving_a_result_keeps_the_files_grid(bench, engine, brain, tmp_path):
    affine = nib.affines.from_matvec(np.diag([-1.0, 1.2, 2.0]), (3, 4, 5))
    source = nib.Nifti1Image(brain.transpose(2, 1, 0), affine)
    source.to_filename(tmp_path / "sub-01_T1w.nii.gz")
    bench.viewer.open(tmp_path / "sub-01_T1w.nii.gz", plugin="napari-nifti")
    bench.run()
    saved = tmp_path / "out.nii.gz"
    bench.layer("sub-01_T1w_T2_mean").save(str(saved), plugin="napari-nifti")
    found = nib.as_closest_canonical(nib.load(saved))
    expected = nib.as_closest_canonical(source)
    np.testing.assert_allclose(found.affine, expected.affine, atol=1e-5)
    np.testing.assert_allclose(found.get_fdata(), expected.get_fdata() / 200, rtol=1e-5)


def test_the_slider_is_followed_in_any_order_of_dims(bench, engine, brain):
    layer = bench.viewer.add_image(brain, name="a_T1w", scale=(-3, -1, -2), translate=(50, 0, 0))
    bench.run()
    plot = bench.dock.card.plot
    bench.viewer.dims.set_point(0, layer.data_to_world((4, 0, 0))[0])
    assert plot.current == 4
    bench.viewer.dims.order = (1, 0, 2)
    bench.viewer.dims.set_point(0, layer.data_to_world((9, 0, 0))[0])
    assert plot.current == 9
    bench.run()
    assert engine.requests[1].request.start_slice == 9
    bench.viewer.dims.order = (0, 1, 2)


def test_the_user_says_which_axis_of_a_plain_array_is_axial(bench, engine, brain):
    layer = bench.viewer.add_image(brain.transpose(1, 2, 0).copy(), name="a_T1w")
    view = bench.dock.form.view
    assert view.axis.isVisible() and view.axis.currentText() == "First (20 slices)"
    view.axis.setCurrentIndex(2)
    view.axis.activated.emit(2)
    assert view.warning.isHidden()  # all slices are computed
    bench.dock.form.range.setCurrentText("This slice")
    assert view.warning.isVisible()
    bench.qtbot.mouseClick(view.button, Qt.MouseButton.LeftButton)
    assert not view.warning.isVisible()
    assert bench.viewer.dims.order == (2, 0, 1)
    bench.viewer.dims.set_point(2, 4)
    bench.run()
    assert engine.requests[0].request.slices == (4, 5)
    np.testing.assert_allclose(bench.layer("a_T1w_T2_mean").data[..., 4], brain[4] / 200)
    bench.viewer.dims.order = (0, 1, 2)
    assert view.axis.currentIndex() == 2 and layer.metadata["mrtrans_axial_axis"] == 2


def test_the_axis_of_a_plain_array_holds_for_what_lies_on_it(bench, engine, brain):
    first, other = (bench.viewer.add_image(brain, name=name, scale=(2, 2, 2)) for name in ("a_T1w", "a_T2w"))
    apart = bench.viewer.add_image(brain, name="b_T2w")
    bench.run()
    mean = bench.layer("a_T1w_T2_mean")
    view = bench.dock.form.view
    bench.dock.form.image.choose(first)
    view.axis.setCurrentIndex(2)
    view.axis.activated.emit(2)
    drawn = bench.viewer.add_labels(np.zeros(brain.shape, int), name="roi", scale=(2, 2, 2))
    assert [axial_axis(layer_affine(layer)) for layer in (first, other, drawn, apart, mean)] == [2, 2, 2, 0, 0]
    bench.dock.form.image.choose(mean)
    view.axis.activated.emit(view.axis.findText("Second", Qt.MatchFlag.MatchStartsWith))
    assert axial_axis(layer_affine(mean)) == view.axis.currentIndex()


def test_one_slice_of_a_coronal_view_is_warned_of(bench, engine, tmp_path):
    """A file whose first axis is not axial opens so."""
    path = tmp_path / "sub-01_T1w.nii.gz"
    nib.Nifti1Image(np.random.default_rng(0).random((16, 12, 20)).astype(np.float32), AFFINES["PSR"]).to_filename(path)
    bench.viewer.open(str(path), plugin="napari-nifti")
    bench.dock.form.range.setCurrentText("This slice")
    view, layer = bench.dock.form.view, bench.viewer.layers[0]
    assert not view.axis.isVisible()
    axial = axial_axis(layer_affine(layer))
    assert bench.viewer.dims.order[0] != axial
    assert view.warning.isVisible() and "slices are computed axial" in view.note.text()
    assert re.match(r"This view is (coronal|sagittal);", view.note.text())
    bench.qtbot.mouseClick(view.button, Qt.MouseButton.LeftButton)
    assert bench.viewer.dims.order[0] == axial and not view.warning.isVisible()


@pytest.mark.parametrize("code", ["RAS", "LAS", "LPS", "PSR", "SAR", "ILA"])
def test_axial_is_shown_as_radiologists_do(bench, tmp_path, code):
    """Anterior up and the patient's left on the right, in whatever order and direction the file was written."""
    path = tmp_path / "sub-01_T1w.nii.gz"
    data = np.zeros((24, 24, 24), np.float32)
    nib.Nifti1Image(data, AFFINES[code]).to_filename(path)
    bench.viewer.open(str(path), plugin="napari-nifti")
    layer = bench.viewer.layers[0]
    handedness = bench.viewer.scene.camera.handedness
    show_axial(bench.viewer, layer)
    assert bench.viewer.scene.camera.handedness == handedness  # or 3-D would be mirrored
    to_voxel = np.linalg.inv(layer_affine(layer))
    centre = layer_affine(layer)[:3] @ (12, 12, 12, 1)

    def on_screen(place):
        """(right, down) of a place in the head, from the viewer's axes and directions."""
        world = np.array(layer.data_to_world((to_voxel @ (*place, 1))[:3]))[list(bench.viewer.dims.displayed)]
        _, vertical, horizontal = (str(side) for side in bench.viewer.scene.camera.orientation)
        return world[1] * (1 if horizontal == "right" else -1), world[0] * (1 if vertical == "down" else -1)

    right, down = np.subtract(on_screen(np.add(centre, (-5, 0, 0))), on_screen(centre))  # towards the patient's left
    assert right > 4 and abs(down) < 1e-3
    right, down = np.subtract(on_screen(np.add(centre, (0, 5, 0))), on_screen(centre))  # towards anterior
    assert down < -4 and abs(right) < 1e-3


def test_slices_have_the_numbers_of_the_slider(bench, engine, brain):
    """A negative scale turns the slider against the array."""
    layer = bench.viewer.add_image(brain, name="a_T1w", scale=(-3, -1, -2), translate=(50, 0, 0))
    bench.viewer.dims.set_point(0, layer.data_to_world((4, 0, 0))[0])
    bench.run()
    plot = bench.dock.card.plot
    assert bench.viewer.dims.current_step[0] == 7
    assert (plot.current, plot.number_of(4)) == (4, 7)
    assert plot.x_of(4) > plot.x_of(9)  # from left to right as the slider
    assert plot.index_at(plot.x_of(9)) == 9
    bench.dock._on_error(OutOfMemory("The GPU ran out of memory at slice 4."))
    assert bench.dock.message.text() == "The GPU ran out of memory at slice 7."


def test_sample_opens_from_the_manifest_and_is_ready(bench, engine):
    (layer,) = bench.viewer.open_sample("napari-mrtrans", "icbm152")
    assert isinstance(layer, Image)
    assert bench.dock.state is DockState.READY
    assert bench.dock.form.source.currentText() == "T1"
    assert "NIfTI affine" in bench.dock.form.image.toolTip()


NOTES = ["Trained on adults.", "PD: from simulated scans only.", "T1->FLAIR: weak.", "T2→T1: good."]


@pytest.mark.parametrize(
    "pair, shown",
    [("T1->T2", []), ("T1->PD", ["PD: from simulated scans only."]), ("T1->FLAIR", ["T1->FLAIR: weak."])],
)
def test_notes_on_a_contrast_stand_under_the_model(bench, checkpoints, brain, pair, shown):
    write_card(checkpoints, "noted", "flow", ["T1->T2", "T1->PD", "T1->FLAIR"], notes=NOTES)
    bench.viewer.add_image(brain, name="sub-01_T1w")
    pair = Pair.parse(pair)
    bench.dock.form.choose(*pair, "noted")
    assert bench.dock.form.note.text().splitlines() == shown
    assert bench.dock.form.note.isVisible() == bool(shown)


def test_layers_that_go_after_the_form_are_no_error(bench, engine, brain, qapp):
    """As when a window closes: Qt deletes the combo boxes one by one, napari its layers."""
    bench.viewer.add_image(brain, name="sub-01_T1w")
    bench.dock.form.target.deleteLater()
    qapp.sendPostedEvents(None, QEvent.Type.DeferredDelete)
    bench.viewer.layers.clear()  # pytest-qt fails the test for what a slot raises

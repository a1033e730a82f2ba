"""What the pictures show: each scene fills a viewer and returns what ends it."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import adapt_scenes
import numpy as np

if TYPE_CHECKING:
    import napari

    from napari_mrtrans.widgets.cohort.dock import CohortWidget
    from napari_mrtrans.widgets.compare.dock import CompareWidget
    from napari_mrtrans.widgets.lesion.dock import LesionWidget
    from napari_mrtrans.widgets.transform.dock import TransformWidget

End = Callable[[], None]
PLUGIN = "napari-mrtrans"
SLICE_MM = 25
SAMPLES = 8


def wait_for(condition: Callable[[], bool], seconds: float = 600) -> None:
    """Let the window live until ``condition`` holds.

    Raises:
        TimeoutError: it does not come true in time.
    """
    from qtpy.QtWidgets import QApplication

    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError("the window did not come that far in time")
        QApplication.processEvents()
        time.sleep(0.005)


def let_live(seconds: float) -> None:
    """Let the window live for a while."""
    end = time.monotonic() + seconds
    wait_for(lambda: time.monotonic() > end)


def tick_all(widget: CompareWidget) -> None:
    """Every installed model."""
    from qtpy.QtCore import Qt

    for row in range(widget.form.models.count()):
        widget.form.models.item(row).setCheckState(Qt.CheckState.Checked)


def _nothing() -> None:
    pass


def _dock(viewer: napari.Viewer, name: str) -> object:
    return viewer.window.add_plugin_dock_widget(PLUGIN, name)[1]


def _sample(viewer: napari.Viewer) -> TransformWidget:
    """The dock of the transformation and the sample brain, a slice through the ventricles on screen."""
    dock = _dock(viewer, "MR contrast transformation")
    viewer.open_sample(PLUGIN, "icbm152")
    viewer.dims.set_point(0, SLICE_MM)
    dock.form.samples.setValue(SAMPLES)
    return dock


def _phantom(viewer: napari.Viewer) -> np.ndarray:
    """T1 and T2 of a simulated brain with lesions, the largest of them on screen; the lesions, (S, A, R)."""
    from napari_mrtrans.datasets.phantom import phantom_subject
    from napari_mrtrans.datasets.phantom_options import PhantomOptions
    from napari_mrtrans.scan.contrasts import Contrast
    from napari_mrtrans.scan.volume import Volume
    from napari_mrtrans.widgets.sample_data import layer_of

    subject = phantom_subject(5, 0, PhantomOptions(lesions=1.0, tumours=0.0, max_slice_mm=1.0))
    for contrast in (Contrast.T2, Contrast.T1):
        volume = Volume(subject.volumes[contrast], subject.affine, contrast, f"phantom_{contrast}w")
        data, options, _ = layer_of(volume)
        viewer.add_image(data, **options)
    lesion = subject.lesion.transpose(2, 1, 0)
    middle = slice(len(lesion) // 2, 3 * len(lesion) // 4)
    best = middle.start + int(lesion[middle].sum(axis=(1, 2)).argmax())
    viewer.dims.set_point(0, viewer.layers[-1].data_to_world((best, 0, 0))[0])
    return lesion


def _stop(widget: TransformWidget | CompareWidget | CohortWidget) -> None:
    widget.cancel()
    wait_for(lambda: not widget.state.busy)


def transform_no_image(viewer: napari.Viewer) -> End:
    """Nothing is open yet."""
    _dock(viewer, "MR contrast transformation")
    return _nothing


def transform_ready(viewer: napari.Viewer) -> End:
    """An image is open."""
    _sample(viewer)
    return _nothing


def transform_running(viewer: napari.Viewer) -> End:
    """A few slices are there."""
    widget = _sample(viewer)
    widget.start()
    wait_for(lambda: not widget.state.busy or (widget.card.plot.values > 0).sum() >= 12)
    return lambda: _stop(widget)


def transform_cancelled(viewer: napari.Viewer) -> End:
    """Cancel was pressed: what is finished stays."""
    transform_running(viewer)()
    return _nothing


def transform_done(viewer: napari.Viewer) -> End:
    """The slice on screen, source, mean and std side by side."""
    widget = _sample(viewer)
    widget.form.range.setCurrentText("This slice")
    widget.compare.setChecked(True)
    widget.start()
    wait_for(lambda: not widget.state.busy)
    viewer.reset_view()
    return _nothing


def transform_failed(viewer: napari.Viewer) -> End:
    """The image is not one volume."""
    widget = _sample(viewer)
    brain = viewer.layers.pop()
    viewer.add_image(np.stack([brain.data[::-1]] * 2), name="two-runs_T1w")
    viewer.dims.set_point((0, 1), (0, 90))
    widget.start()
    return _nothing


def transform_follow(viewer: napari.Viewer) -> End:
    """The slider is followed: another slice was just scrolled to."""
    widget = _sample(viewer)
    widget.form.range.setCurrentText("Follow the slider")
    widget.start()
    wait_for(lambda: (widget.card.plot.values > 0).sum() >= 3)
    viewer.dims.set_point(0, SLICE_MM + 14)
    wait_for(lambda: "preview" in widget.progress.text, seconds=30)
    mean = widget.layers.mean
    wait_for(lambda: np.isfinite(mean.data[widget.card.plot.current]).all(), seconds=30)
    return lambda: _stop(widget)


def transform_roi(viewer: napari.Viewer) -> End:
    """Nothing but a painted region was computed."""
    widget = _sample(viewer)
    widget.form.range.setCurrentText("ROI only")
    widget.form.extent.new.click()
    labels = viewer.layers[-1]
    source = widget.form.layer
    middle = np.round(source.world_to_data(viewer.dims.point)).astype(int)
    labels.brush_size = 50
    labels.paint((middle[0], source.data.shape[1] // 2, source.data.shape[2] // 2), 1)
    labels.mode = "pan_zoom"
    labels.visible = False
    wait_for(widget.button.isEnabled)
    widget.start()
    wait_for(lambda: not widget.state.busy)
    return _nothing


def transform_slab(viewer: napari.Viewer) -> End:
    """A slab that is not within the image."""
    widget = _sample(viewer)
    widget.form.range.setCurrentText("A slab")
    widget.form.extent.last.setValue(400)
    return _nothing


def transform_planes(viewer: napari.Viewer) -> End:
    """A coronal cut through the source, direct's axial slices and its three planes, side by side."""
    from napari_mrtrans.scan.contrasts import Contrast

    widget = _sample(viewer)
    widget.form.choose(Contrast.T1, Contrast.T2, "direct")
    widget.form.range.setCurrentText("All slices")
    for three_planes in (False, True):
        widget.form.advanced._three_planes.setChecked(three_planes)
        widget.start()
        wait_for(lambda: not widget.state.busy)
    for layer in viewer.layers:
        layer.visible = "_mean" in layer.name or layer is widget.form.layer
    widget.form.advanced.expand(animate=False)
    viewer.grid.enabled, viewer.grid.shape = True, (1, -1)
    viewer.dims.order = (1, 0, 2)
    viewer.dims.set_point(1, -20)
    viewer.reset_view()
    return _nothing


def _on_phantom(viewer: napari.Viewer, title: str) -> object:
    """A dock that is to make T2 of the phantom's T1."""
    widget = _dock(viewer, title)
    _phantom(viewer)
    widget.form.image.choose(viewer.layers["phantom_T1w"])
    widget.form.target.setCurrentText("T2")
    widget.form.samples.setValue(SAMPLES)
    return widget


def transform_acquired(viewer: napari.Viewer) -> End:
    """Contour lines of the std over the mean, and the error against the acquired image."""
    from qtpy.QtWidgets import QScrollArea

    widget = _on_phantom(viewer, "MR contrast transformation")
    widget.form.range.setCurrentText("This slice")
    widget.start()
    wait_for(lambda: not widget.state.busy)
    widget.acquired.compare()
    wait_for(lambda: bool(widget.acquired.figures.text()))
    next(layer for layer in viewer.layers if "_error" in layer.name).visible = False
    widget.uncertainty.unsure.setCurrentText("Contour lines")
    area = widget.findChild(QScrollArea)
    area.verticalScrollBar().setValue(area.verticalScrollBar().maximum())
    return _nothing


def _compare(viewer: napari.Viewer) -> CompareWidget:
    widget = _on_phantom(viewer, "Compare models")
    tick_all(widget)
    return widget


def compare_ready(viewer: napari.Viewer) -> End:
    """Six models and a reference are chosen."""
    _compare(viewer)
    return _nothing


def compare_running(viewer: napari.Viewer) -> End:
    """The second model is running."""
    widget = _compare(viewer)
    widget.form.range.setCurrentText("All slices")
    widget.form.samples.setValue(1)
    widget.start()
    wait_for(lambda: not widget.state.busy or "/" in widget.progress.text)
    wait_for(lambda: not widget.state.busy or widget.comparison.rows[0].slices >= 30)
    return lambda: _stop(widget)


def compare_done(viewer: napari.Viewer) -> End:
    """The means next to the reference."""
    widget = _compare(viewer)
    widget.start()
    wait_for(lambda: not widget.state.busy)
    widget.grid.click()
    return _nothing


def compare_refused(viewer: napari.Viewer) -> End:
    """The reference is somebody else's."""
    widget = _compare(viewer)
    other = viewer.layers["phantom_T2w"]
    other.metadata = {**other.metadata, "affine": other.metadata["affine"] @ np.diag([0.8, 0.8, 0.8, 1])}
    other.name = "somebody_T2w"
    widget.start()
    wait_for(lambda: not widget.state.busy)
    return _nothing


def _lesion(viewer: napari.Viewer) -> tuple[LesionWidget, np.ndarray]:
    """A prediction of the slice on screen, and the dock of the lesion check in place of the other."""
    transform = _dock(viewer, "MR contrast transformation")
    lesion = _phantom(viewer)
    transform.form.image.choose(viewer.layers["phantom_T1w"])
    transform.form.target.setCurrentText("T2")
    transform.form.samples.setValue(SAMPLES)
    transform.form.range.setCurrentText("This slice")
    transform.form.advanced._keep.setCurrentText("One 4-D layer")
    transform.start()
    wait_for(lambda: not transform.state.busy)
    viewer.window.remove_dock_widget(transform)
    return _dock(viewer, "Lesion check"), lesion


def _mark(viewer: napari.Viewer, lesion: np.ndarray) -> None:
    """The lesions of the slice that was computed, as labels."""
    from napari_mrtrans.widgets.placement import inherited

    mean = next(layer for layer in viewer.layers if layer.name.startswith("phantom_T1w_T2_mean"))
    marked = lesion & np.isfinite(mean.data)
    viewer.add_labels(marked.astype(np.uint8), name="lesions", **inherited(mean))


def lesion_ready(viewer: napari.Viewer) -> End:
    """Nothing is marked yet."""
    _lesion(viewer)
    return _nothing


def lesion_measured(viewer: napari.Viewer) -> End:
    """The lesions of a slice against the acquired image."""
    widget, lesion = _lesion(viewer)
    _mark(viewer, lesion)
    widget.measure()
    return _nothing


def lesion_without_reference(viewer: napari.Viewer) -> End:
    """The same where nothing was acquired."""
    widget, lesion = _lesion(viewer)
    viewer.layers.remove("phantom_T2w")
    _mark(viewer, lesion)
    widget.measure()
    return _nothing


def _folder() -> Path:
    """Five scans: the sample brain, thrice as bright, with noise, with its grey values turned, and a broken file."""
    import nibabel as nib

    from napari_mrtrans.scan.sample import sample_volume

    folder = Path(tempfile.mkdtemp()) / "scans"
    folder.mkdir()
    brain = sample_volume()
    data, affine = brain.data[:, :, 84:92], brain.affine.copy()
    affine[:3, 3] += 84 * brain.affine[:3, 2]
    noise = np.random.default_rng(0).normal(0, 0.25 * data.max(), data.shape)
    turned = np.where(data > 0, data.max() * 1.05 - data, 0)
    for name, image in (("anna", data), ("bert", 3 * data), ("cleo", np.abs(data + noise)), ("dora", turned)):
        nib.Nifti1Image(image.astype(np.float32), affine).to_filename(folder / f"{name}_T1w.nii.gz")
    (folder / "emil_T1w.nii.gz").write_bytes(b"cut off on the way")
    return folder


def _many(viewer: napari.Viewer) -> CohortWidget:
    widget = _dock(viewer, "Many scans")
    folder = _folder()
    widget.form.folder.line.setText(str(folder))
    widget.form.out.line.setText(str(folder.parent / "results"))
    widget.form.target.setCurrentText("T2")
    widget.form.samples.setValue(2)
    widget.start()
    return widget


def cohort_running(viewer: napari.Viewer) -> End:
    """The third scan is at work."""
    widget = _many(viewer)
    wait_for(lambda: not widget.state.busy or widget.queue.done == 2)
    wait_for(lambda: not widget.state.busy or sum(widget.queue.shares.values()) > 0.3)
    wait_for(lambda: not widget.state.busy or "%" in widget.progress.text)
    return lambda: _stop(widget)


def cohort_done(viewer: napari.Viewer) -> End:
    """All verdicts; the row of one was double-clicked."""
    widget = _many(viewer)
    wait_for(lambda: not widget.state.busy)
    widget.open(widget.queue.scans[2])
    viewer.reset_view()
    return _nothing


def checkpoints(viewer: napari.Viewer) -> End:
    """What is installed."""
    _dock(viewer, "Checkpoints")
    return _nothing


def adapt_ready(viewer: napari.Viewer) -> End:
    """A folder with sessions is chosen."""
    dock = adapt_scenes.ready(viewer)
    wait_for(lambda: adapt_scenes.is_read(dock))
    return _nothing


def adapt_running(viewer: napari.Viewer) -> End:
    """The held-out slice has changed a few times."""
    dock = adapt_scenes.ready(viewer)
    wait_for(lambda: adapt_scenes.is_read(dock))
    dock.start()
    wait_for(lambda: adapt_scenes.has_improved(dock), seconds=3600)
    return lambda: dock.cancel() or dock.cancel()


def adapt_done(viewer: napari.Viewer) -> End:
    """The table, and what to do with the new model."""
    dock = adapt_scenes.ready(viewer)
    wait_for(lambda: adapt_scenes.is_read(dock))
    dock.start()
    wait_for(lambda: not dock.state.busy, seconds=3600)
    return _nothing


SCENES: dict[str, Callable[[napari.Viewer], End]] = {
    scene.__name__.replace("_", "-"): scene
    for scene in (
        transform_no_image,
        transform_ready,
        transform_running,
        transform_done,
        transform_cancelled,
        transform_failed,
        transform_follow,
        transform_slab,
        transform_planes,
        transform_roi,
        transform_acquired,
        compare_ready,
        compare_running,
        compare_done,
        compare_refused,
        lesion_ready,
        lesion_measured,
        lesion_without_reference,
        cohort_running,
        cohort_done,
        checkpoints,
        adapt_ready,
        adapt_running,
        adapt_done,
    )
}

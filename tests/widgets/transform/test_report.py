"""The page of a run, written with a click; and an acquired image beside a result: error map, SSIM and PSNR."""

from __future__ import annotations

import re
from html import unescape

import numpy as np
import pytest
from qtpy.QtCore import Qt, QUrl
from qtpy.QtWidgets import QFileDialog, QMessageBox

from napari_mrtrans.widgets.lesion.dock import LesionWidget
from napari_mrtrans.widgets.source import result_record

from ..conftest import Heartbeat


@pytest.fixture
def page(tmp_path, monkeypatch):
    """The file that is chosen in the dialog."""
    path = tmp_path / "private" / "page.html"
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_: (str(path), ""))
    return path


@pytest.fixture
def ran(bench, engine, brain):
    """A finished run of one T1, slice 6 on screen."""
    bench.source = bench.viewer.add_image(brain, name="sub-01_T1w")
    bench.viewer.dims.set_point(0, 6)
    bench.run()
    return bench


def write(bench):
    """Click the button and wait until it is done; the longest gap of the event loop."""
    report = bench.dock.report
    bench.qtbot.mouseClick(report, Qt.MouseButton.LeftButton)
    heartbeat = Heartbeat()
    assert report.text() == "Writing…" and not report.isEnabled()
    bench.qtbot.waitUntil(lambda: report.text() == "Report…", timeout=60_000)
    return heartbeat.stop()


def text_of(path):
    html = path.read_text()
    return unescape(re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", html)))


def test_one_click_writes_a_page_of_the_run(ran, page, tmp_path):
    write(ran)
    text = text_of(page)
    said = ran.dock.message
    assert unescape(re.sub("<[^>]+>", "", said.text())) == f"Wrote '{page}'. Open it"
    assert QUrl(unescape(re.search('href="([^"]+)"', said.text())[1])).toLocalFile() == str(page)
    assert said.openExternalLinks() and said.textFormat() == Qt.TextFormat.RichText
    assert "sub-01_T1w → T2" in text and "Research use only" in text and "10 slices" in text
    assert "napari-mrtrans transform sub-01_T1w.nii.gz --to T2 --from T1 --model many-flow -n 20 --seed 0" in text
    assert page.read_text().count('<img src="data:image/') == 2
    assert str(tmp_path) not in page.read_text()
    assert "Lesions" not in text and "Against the acquired" not in text


def test_lesions_and_the_acquired_image_stand_in_it(ran, page, brain, qtbot):
    viewer = ran.viewer
    rng = np.random.default_rng(0)
    acquired = np.where(brain > 0, brain + 20 * rng.standard_normal(brain.shape), 0).astype(np.float32)
    viewer.add_image(acquired, name="sub-01_T2w")
    assert ran.dock.acquired.reference.layer is viewer.layers["sub-01_T2w"]
    labels = np.zeros(brain.shape, int)
    labels[5:8, 8:12, 6:10] = 1
    viewer.add_labels(labels, name="lesions of John")
    lesion = LesionWidget(viewer)
    qtbot.addWidget(lesion)
    lesion.measure()
    assert lesion.report is not None, lesion.message.text()
    write(ran)
    text = text_of(page)
    assert "Against the acquired T2" in text and "sub-01_T2w" in text
    assert "In 'lesions of John'" in text
    assert f"all {lesion.report.n_voxels} {lesion.report.r:.3f}" in text
    # What is measured no more is not told.
    viewer.layers["lesions of John"].data = np.zeros(brain.shape, int)
    lesion.measure()
    write(ran)
    assert "Lesions" not in text_of(page)


def test_lesions_are_told_as_their_layers_are_now(ran, page, brain, qtbot):
    """Also of a result that the lesion check shows no more, whose region is edited for another."""
    viewer = ran.viewer
    mean, labels = ran.layer("sub-01_T1w_T2_mean"), np.zeros(brain.shape, int)
    labels[5:8, 8:12, 6:10] = 1
    roi = viewer.add_labels(labels, name="roi")
    other = viewer.add_image(brain, name="other_T1w")
    lesion = LesionWidget(viewer)
    qtbot.addWidget(lesion)
    lesion.prediction.choose(mean)
    lesion.measure()
    assert lesion.report.n_voxels == 48
    lesion.prediction.choose(other)
    roi.data[5:8, 4:8, 6:10] = 1
    write(ran)
    assert "96 voxels of 1 lesion" in text_of(page)
    viewer.layers.remove(roi)
    write(ran)
    assert "Lesions" not in text_of(page)
    viewer.layers.append(roi)
    reference = viewer.add_image(brain, name="sub-01_T2w")
    lesion.prediction.choose(mean)
    lesion.reference.choose(reference)
    lesion.measure()
    viewer.layers.remove(reference)
    write(ran)
    assert "Lesions" not in text_of(page)


def test_another_head_is_told_and_left_out(ran, page, brain):
    ran.viewer.add_image(np.where(np.arange(16) > 12, brain.max(), 0) * np.ones(brain.shape), name="other_T2w")
    write(ran)
    text = text_of(page)
    assert "is not the head of 'sub-01_T1w'" in text and "Against the acquired" not in text


def test_a_folder_that_takes_nothing_is_one_line(ran, page, errors):
    page.parent.write_text("a file")
    write(ran)
    assert len(errors) == 1 and errors[0].startswith(f"Cannot write to '{page.parent}'")
    assert errors[0].endswith("Choose another place.") and "\n" not in errors[0]
    assert ran.dock.message.text() == errors[0]


def test_a_page_that_gets_its_suffix_replaces_no_file_unasked(ran, tmp_path, monkeypatch):
    """The dialog asked about the name as it was typed."""
    notes, asked = tmp_path / "notes.html", []
    notes.write_text("my notes")
    answers = iter([QMessageBox.StandardButton.No, QMessageBox.StandardButton.Yes])
    monkeypatch.setattr(QMessageBox, "question", lambda *args: asked.append(args[2]) or next(answers))
    ran.dock.report.write(tmp_path / "notes")
    assert notes.read_text() == "my notes" and ran.dock.report.text() == "Report…"
    ran.dock.report.write(tmp_path / "notes")
    ran.qtbot.waitUntil(lambda: ran.dock.report.text() == "Report…", timeout=60_000)
    assert "sub-01_T1w → T2" in text_of(notes)
    assert len(asked) == 2 and "'notes.html'" in asked[0]
    # One that was typed with its suffix, the dialog has asked about.
    ran.dock.report.write(notes)
    ran.qtbot.waitUntil(lambda: ran.dock.report.text() == "Report…", timeout=60_000)
    assert len(asked) == 2


def test_there_is_nothing_to_report_of_another_image(ran, brain):
    assert ran.dock.report.isVisible()
    ran.dock.form.image.choose(ran.viewer.add_image(brain / 2, name="sub-02_T1w"))
    assert not ran.dock.report.isVisible()


def test_figures_of_a_reference_are_not_shown_of_another_that_was_chosen_meanwhile(ran, brain):
    panel = ran.dock.acquired
    first, second = (ran.viewer.add_image(brain, name=f"sub-01_acq-{k}_T2w") for k in range(2))
    panel.reference.choose(first)
    ran.qtbot.mouseClick(panel.button, Qt.MouseButton.LeftButton)
    panel.reference.choose(second)
    ran.qtbot.waitUntil(panel.button.isEnabled, timeout=60_000)
    assert not panel.figures.text() and not any("error" in layer.name for layer in ran.viewer.layers)


def test_error_map_and_figures_of_an_acquired_image(ran, brain, errors):
    panel = ran.dock.acquired
    assert not panel.isVisible()
    truth = ran.viewer.add_image(brain, name="sub-01_T2w")
    assert panel.isVisible() and panel.reference.layer is truth
    ran.qtbot.mouseClick(panel.button, Qt.MouseButton.LeftButton)
    ran.qtbot.waitUntil(lambda: bool(panel.figures.text()), timeout=60_000)
    error, mean = ran.layer("sub-01_T1w_T2_error"), ran.layer("sub-01_T1w_T2_mean")
    assert re.fullmatch(r"SSIM 0\.\d{3}, PSNR \d+\.\d\d dB over 10 slices\.", panel.figures.text())
    inside = brain > 0
    np.testing.assert_array_equal(np.isfinite(error.data), inside)
    # An intensity is a fixed part of the median in the model's units, so errors are too.
    scale = np.median(error.data[inside] / brain[inside])
    assert scale > 0 and result_record(error)["kind"] == "error"
    np.testing.assert_allclose(error.data[inside & (brain < 100)], scale * brain[inside & (brain < 100)], rtol=0.01)
    assert ran.dock.form.image.layers == [ran.source, mean, truth]
    ran.qtbot.mouseClick(panel.button, Qt.MouseButton.LeftButton)
    ran.qtbot.waitUntil(lambda: panel.button.isEnabled(), timeout=60_000)
    assert sum("error" in layer.name for layer in ran.viewer.layers) == 1
    # Moved into place, it is compared anew.
    before = panel.figures.text()
    truth.translate = (0, -1, 0)
    ran.qtbot.mouseClick(panel.button, Qt.MouseButton.LeftButton)
    ran.qtbot.waitUntil(lambda: panel.figures.text() not in ("", before), timeout=60_000)
    truth.translate = (0, 0, 0)
    # Another head is refused in a line.
    panel.reference.choose(ran.viewer.add_image(np.roll(brain, 9, axis=2), name="other_T2w"))
    ran.qtbot.mouseClick(panel.button, Qt.MouseButton.LeftButton)
    ran.qtbot.waitUntil(lambda: bool(errors), timeout=60_000)
    assert "is not the head of 'sub-01_T1w'" in errors[0]

"""The docks in a laptop's window: they scroll, lie behind one another, and have names that are not cut."""

from __future__ import annotations

import napari
import nibabel as nib
import numpy as np
import pytest
from qtpy.QtCore import QPoint, QPointF, Qt
from qtpy.QtGui import QWheelEvent
from qtpy.QtWidgets import (
    QApplication,
    QComboBox,
    QDockWidget,
    QLabel,
    QListWidget,
    QScrollArea,
    QSlider,
    QSpinBox,
    QTableWidget,
)

from .test_source import AFFINES

NAMES = ("MR contrast transformation", "Compare models")


@pytest.fixture
def laptop(make_napari_viewer, qtbot, engine):
    """Two docks from the plugin's menu, in a window of 1366 x 768."""
    viewer = make_napari_viewer(show=True)
    viewer.window.resize(1366, 768)
    docks = []
    for name in NAMES:
        docks.append(viewer.window.add_plugin_dock_widget("napari-mrtrans", name))
        qtbot.wait(20)
    return viewer, docks


def test_two_docks_are_tabs_in_a_laptops_window(laptop, qtbot, brain):
    viewer, ((first, transform), (second, compare)) = laptop
    window = viewer.window._qt_window
    qtbot.waitUntil(lambda: second in window.tabifiedDockWidgets(first))
    assert compare.isVisible() and not transform.visibleRegion().boundingRect().height()
    assert (window.width(), window.height()) == (1366, 768)
    for dock, name in zip((first, second), NAMES, strict=True):
        title = dock.titleBarWidget().findChild(QLabel)
        assert title.text() == dock.windowTitle() == name  # the latter is on its tab
    first.raise_()
    qtbot.waitUntil(lambda: transform.visibleRegion().boundingRect().height() > 0)
    title = first.titleBarWidget().findChild(QLabel)
    assert title.fontMetrics().horizontalAdvance(NAMES[0]) <= title.width()
    # A choice in the scrolled form keeps track of the layers (napari#4749).
    viewer.add_image(brain, name="a_T1w")
    assert transform.form.image.currentText() == compare.form.image.currentText() == "a_T1w"


def test_what_does_not_fit_is_scrolled_to_and_the_wheel_changes_no_choice(laptop, qtbot, brain):
    viewer, ((first, transform), _) = laptop
    viewer.add_image(brain, name="a_T1w")
    first.raise_()
    transform.setFixedHeight(250)
    bar = transform.findChild(QScrollArea).verticalScrollBar()
    qtbot.waitUntil(lambda: bar.maximum() > 0)
    target, limit = transform.form.target, transform.uncertainty.limit
    before = target.currentText(), limit.value()
    for field in (target, limit):
        at = QPointF(field.rect().center())
        wheel = QWheelEvent(
            at,
            QPointF(field.mapToGlobal(at.toPoint())),
            QPoint(0, -120),
            QPoint(0, -120),
            Qt.MouseButton.NoButton,
            Qt.KeyboardModifier.NoModifier,
            Qt.ScrollPhase.NoScrollPhase,
            False,
        )
        QApplication.sendEvent(field, wheel)
    assert (target.currentText(), limit.value()) == before
    transform.findChild(QScrollArea).ensureWidgetVisible(transform.button)
    assert transform.button.visibleRegion().boundingRect().height() >= 32
    assert isinstance(transform.parent(), QDockWidget)


def test_what_is_said_of_the_view_is_not_cut(laptop, qtbot, tmp_path):
    """A form gives a row with a button beside wrapped text less height than the text needs."""
    viewer, ((first, transform), _) = laptop
    path = tmp_path / "sub-01_T1w.nii.gz"
    nib.Nifti1Image(np.ones((16, 12, 20), np.float32), AFFINES["PSR"]).to_filename(path)
    viewer.open(str(path), plugin="napari-nifti")
    first.raise_()
    transform.form.range.setCurrentText("This slice")
    note = transform.form.view.note
    qtbot.waitUntil(lambda: note.isVisible() and note.width() < 300)
    qtbot.waitUntil(lambda: note.height() >= note.heightForWidth(note.width()), timeout=2000)


def test_a_dock_opened_from_the_menu_has_a_title_that_fits(make_napari_viewer, qtbot, engine):
    """napari adds the plugin's name in the menu, which is another than in code."""
    viewer = make_napari_viewer(show=True)
    window = viewer.window._qt_window
    menus = [menu.menu() for bar in window.menuBar().actions() for menu in bar.menu().actions() if menu.menu()]
    action = next(a for menu in menus for a in menu.actions() if a.text().startswith(NAMES[1]))
    action.trigger()
    (dock,) = (d for d in window.findChildren(QDockWidget) if d.windowTitle().startswith(NAMES[1]))
    qtbot.waitUntil(lambda: dock.windowTitle() == NAMES[1])
    assert dock.titleBarWidget().findChild(QLabel).text() == NAMES[1]


def test_docks_opened_at_once_are_tabs_the_last_one_in_front(make_napari_viewer, qtbot, engine):
    """As by a script, or by several names behind ``napari --with napari-mrtrans``."""
    viewer = make_napari_viewer(show=True)
    names = (*NAMES, "Lesion check", "Checkpoints")
    docks = [viewer.window.add_plugin_dock_widget("napari-mrtrans", name)[0] for name in names]
    window = viewer.window._qt_window
    qtbot.waitUntil(lambda: len(window.tabifiedDockWidgets(docks[0])) == len(docks) - 1)
    assert [not dock.widget().visibleRegion().isEmpty() for dock in docks] == [False, False, False, True]


def test_larger_text_of_napari_makes_a_dock_wider_and_cuts_no_label(laptop, qtbot):
    """A form squeezed into the width for small text drops its labels and the ends of its lines."""
    _, ((first, transform), _) = laptop
    first.raise_()
    usual = transform.minimumWidth()
    settings = napari.settings.get_settings().appearance
    settings.font_size = 14
    qtbot.waitUntil(lambda: transform.minimumWidth() > usual)
    transform.form.advanced.expand(animate=False)
    qtbot.wait(50)
    labels = [label for label in transform.findChildren(QLabel) if label.isVisible() and not label.wordWrap()]
    assert len(labels) > 10
    assert [label.text() for label in labels if label.width() < label.sizeHint().width()] == []
    settings.font_size = 9
    qtbot.waitUntil(lambda: transform.minimumWidth() == usual)


@pytest.mark.parametrize("name", [*NAMES, "Lesion check", "Adapt to my scanner", "Many scans", "Checkpoints"])
def test_every_field_has_a_name_for_who_cannot_see_the_form(name, make_napari_viewer, engine):
    """Its own, or that of the label that it is the buddy of."""
    viewer = make_napari_viewer()
    _, widget = viewer.window.add_plugin_dock_widget("napari-mrtrans", name)
    fields = [
        field
        for kind in (QComboBox, QSpinBox, QSlider, QTableWidget, QListWidget)
        for field in widget.findChildren(kind)
    ]
    named = {label.buddy() for label in widget.findChildren(QLabel)}
    unnamed = [field for field in fields if not field.accessibleName() and field not in named]
    assert fields and unnamed == []

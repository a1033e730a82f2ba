"""Keys of the dock, pressed in the canvas as a person would, and that none of them is napari's."""

from __future__ import annotations

import pytest
from app_model.types import KeyBinding
from napari._app_model import get_app_model
from napari._qt._qapp_model.qactions import init_qactions
from napari.utils.shortcuts import default_shortcuts
from qtpy.QtCore import Qt
from qtpy.QtGui import QKeySequence

from napari_mrtrans.widgets.shortcuts import KEYS
from napari_mrtrans.widgets.state import DockState
from napari_mrtrans.widgets.transform.form import SliceRange

CTRL, ALT, SHIFT = (getattr(Qt.KeyboardModifier, f"{name}Modifier") for name in ("Control", "Alt", "Shift"))


@pytest.fixture
def loaded(bench, engine, brain):
    """The dock with one T1; the canvas has the focus."""
    bench.viewer.add_image(brain, name="sub-01_T1w")
    bench.viewer.dims.set_point(0, 6)
    bench.viewer.window._qt_window.activateWindow()
    bench.canvas = bench.viewer.window._qt_viewer.canvas.native
    bench.canvas.setFocus()
    bench.qtbot.waitUntil(lambda: bench.viewer.window._qt_window.isActiveWindow())
    return bench


def press(bench, key, modifiers):
    bench.qtbot.keyClick(bench.canvas, key, modifiers)


def test_start_and_cancel(loaded, engine):
    engine.pace = 0.5
    press(loaded, Qt.Key.Key_Return, CTRL)
    loaded.wait_for(DockState.RUNNING)
    press(loaded, Qt.Key.Key_Return, CTRL)
    loaded.wait_for(DockState.CANCELLED)
    assert "Ctrl+Return" in loaded.dock.button.toolTip()


def test_next_and_previous_model(loaded):
    names = [loaded.dock.form.checkpoint.name]
    for key in (Qt.Key.Key_PageDown, Qt.Key.Key_PageDown, Qt.Key.Key_PageUp):
        press(loaded, key, ALT)
        names.append(loaded.dock.form.checkpoint.name)
    assert names == ["many-flow", "one-direct", "many-flow", "one-direct"]


def test_models_cannot_be_changed_under_a_run(loaded, engine):
    engine.pace = 0.5
    loaded.press()
    loaded.wait_for(DockState.RUNNING)
    press(loaded, Qt.Key.Key_PageDown, ALT)
    assert loaded.dock.form.checkpoint.name == "many-flow"


def test_follow_on_and_off(loaded, monkeypatch):
    started = []
    monkeypatch.setattr(loaded.dock, "start", lambda: started.append(loaded.dock.form.slice_range))
    press(loaded, Qt.Key.Key_Return, CTRL | SHIFT)
    assert started == [SliceRange.FOLLOW]


def test_without_kept_samples_there_is_no_film(loaded):
    loaded.run()
    before = {layer.name: layer.visible for layer in loaded.viewer.layers}
    press(loaded, Qt.Key.Key_Space, CTRL | SHIFT)
    assert {layer.name: layer.visible for layer in loaded.viewer.layers} == before
    assert not loaded.dock.uncertainty.film.isChecked()


def test_no_key_is_napari_s(loaded):
    """Neither of its default shortcuts nor of its menus."""
    init_qactions()
    taken = {str(binding) for bindings in default_shortcuts.values() for binding in bindings}
    taken |= {str(binding.keybinding) for binding in get_app_model().keybindings}
    assert str(KeyBinding.from_str("Ctrl+Shift+O")) in taken, "menus are looked at"
    ours = {name: str(KeyBinding.from_str(_as_napari(key))) for name, key in KEYS.items()}
    assert not {name: key for name, key in ours.items() if key in taken}
    assert all(not QKeySequence(key).isEmpty() for key in KEYS.values())


def _as_napari(key: str) -> str:
    return key.replace("Return", "Enter").replace("PgDown", "PageDown").replace("PgUp", "PageUp")

"""The parts without a viewer: clock, quantile, plot."""

from __future__ import annotations

import re

import numpy as np
import pytest
from napari.settings import get_settings
from napari.utils.theme import get_theme
from npe2 import PluginManifest
from qtpy.QtCore import QPoint, Qt
from qtpy.QtGui import QColor
from qtpy.QtWidgets import QWidget

from napari_mrtrans.widgets.dock import research_note
from napari_mrtrans.widgets.named_text import NamedText
from napari_mrtrans.widgets.plots import CURVE, MARK, SlicePlot
from napari_mrtrans.widgets.quantile import RunningQuantile
from napari_mrtrans.widgets.state import DockState
from napari_mrtrans.widgets.transform.progress import Countdown, ProgressLine
from napari_mrtrans.wording import clock


@pytest.mark.parametrize("theme", ["light", "dark", "system"])
def test_links_can_be_read_on_either_background(theme: str, qtbot, monkeypatch: pytest.MonkeyPatch) -> None:
    def luminance(colour: str) -> float:
        parts = (int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return float(np.dot([0.2126, 0.7152, 0.0722], linear))

    window = QWidget()
    qtbot.addWidget(window)
    note = research_note()
    note.setParent(window)
    monkeypatch.setattr("napari.utils.theme.get_system_theme", lambda: "light")
    monkeypatch.setattr(get_settings().appearance, "theme", theme)
    window.setStyleSheet("QWidget { color: grey }")  # as napari does then
    link = luminance(re.findall(r"#[0-9a-f]{6}", note.text())[0])
    low, high = sorted((link, luminance(get_theme(theme).background.as_hex())))
    assert (high + 0.05) / (low + 0.05) >= 4.5


def test_manifest_is_valid_and_its_commands_exist() -> None:
    manifest = PluginManifest.from_distribution("napari-mrtrans")
    manifest.validate_imports()
    assert [widget.display_name for widget in manifest.contributions.widgets] == [
        "MR contrast transformation",
        "Lesion check",
        "Compare models",
        "Many scans",
        "Checkpoints",
        "Adapt to my scanner",
    ]
    (reader,) = manifest.contributions.readers
    assert reader.accepts_directories and "*.dcm" in reader.filename_patterns
    assert [sample.key for sample in manifest.contributions.sample_data] == ["icbm152"]


@pytest.mark.parametrize("seconds, text", [(0, "0:00"), (80.4, "1:20"), (3599.9, "1:00:00"), (4000, "1:06:40")])
def test_clock(seconds: float, text: str) -> None:
    assert clock(seconds) == text


def test_countdown_uses_the_pace_since_the_first_step() -> None:
    time = 100.0
    countdown = Countdown(now=lambda: time)
    assert countdown.text() == ""
    countdown.start()
    time = 110.0
    countdown.advance(5, 45)
    assert countdown.text() == "slice 5/45 · 1:20 left"
    time = 130.0
    assert countdown.text() == "slice 5/45 · 1:00 left"


def test_running_quantile_is_numpys() -> None:
    values = np.random.default_rng(0).random((4, 1000)) ** 3
    quantile = RunningQuantile()
    assert quantile.value(0.99) == 0
    for block in values:
        quantile.add(block)
    assert quantile.value(0.99) == pytest.approx(np.quantile(values, 0.99), abs=2e-3)


def test_values_above_one_count_as_one() -> None:
    quantile = RunningQuantile()
    quantile.add(np.array([5.0, 0.1]))
    assert quantile.value(1.0) == 1


def test_busy_states() -> None:
    assert [state for state in DockState if state.busy] == [
        DockState.LOADING,
        DockState.RUNNING,
        DockState.CANCELLING,
    ]


@pytest.fixture
def plot(qtbot) -> SlicePlot:
    widget = SlicePlot()
    qtbot.addWidget(widget)
    widget.resize(300, 100)
    widget.set_values(np.array([np.nan, 0.1, 0.2, 0.3, np.nan]))
    widget.show()
    return widget


def test_a_click_tells_the_slice(plot: SlicePlot, qtbot) -> None:
    for index in (0, 2, 4):
        with qtbot.waitSignal(plot.slice_clicked) as caught:
            qtbot.mouseClick(plot, Qt.MouseButton.LeftButton, pos=QPoint(round(plot.x_of(index)), 50))
        assert caught.args == [index]


def test_a_click_outside_the_curve_tells_the_nearest_end(plot: SlicePlot, qtbot) -> None:
    with qtbot.waitSignal(plot.slice_clicked) as caught:
        qtbot.mouseClick(plot, Qt.MouseButton.LeftButton, pos=QPoint(299, 50))
    assert caught.args == [4]


def test_the_curve_and_the_mark_are_drawn(plot: SlicePlot) -> None:
    def drawn(colour: QColor) -> bool:
        image = plot.grab().toImage()
        pixels = [image.pixelColor(x, y) for x in range(image.width()) for y in range(image.height())]
        return any(max(abs(a - b) for a, b in zip(p.getRgb(), colour.getRgb(), strict=True)) < 40 for p in pixels)

    assert drawn(CURVE)
    assert not drawn(MARK)
    plot.set_current(3)
    assert drawn(MARK)


def test_an_empty_plot_ignores_clicks(qtbot) -> None:
    widget = SlicePlot()
    qtbot.addWidget(widget)
    with qtbot.assertNotEmitted(widget.slice_clicked):
        qtbot.mouseClick(widget, Qt.MouseButton.LeftButton)


def test_a_long_name_is_wrapped_and_told_as_it_is(qtbot) -> None:
    """What a name joins by low lines was cut at the edge of the dock: in messages, progress, card and notes."""
    name = "T1_MPRAGE_SAG_P2_ISO_WITH_CONTRAST_AGENT_CORRECTED_AND_REGISTERED_TO_T2_0012"
    label = NamedText()
    qtbot.addWidget(label)
    label.setText(f"0 of 3 scans · 1:09 left · {name} 40 %")
    assert label.text() == f"0 of 3 scans · 1:09 left · {name} 40 %"
    narrowest = max(label.fontMetrics().horizontalAdvance(part) for part in ("REGISTERED_", "CORRECTED_"))
    assert label.minimumSizeHint().width() <= 2 * narrowest
    assert label.textFormat() == Qt.TextFormat.PlainText  # '<b>' in a name is no markup
    label.clear()
    assert label.text() == ""


def test_the_line_of_a_long_name_does_not_end_at_the_edge(qtbot) -> None:
    line = ProgressLine()
    qtbot.addWidget(line)
    line.show_count(
        1, 3, "1 of 3 scans · sub_01_ses_1_acq_mprage_1mm_isotropic_run_01_desc_preproc_and_defaced_T1w 40 %"
    )
    line.resize(300, 80)
    line.show()
    assert line._label.height() > 2 * line._label.fontMetrics().height()

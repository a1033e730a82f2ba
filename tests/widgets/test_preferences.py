"""napari's own preferences for the plugin, and the choices that come back in the next dock."""

from __future__ import annotations

from pathlib import Path

import napari.settings
import pytest
from napari._qt.dialogs.preferences_dialog import PreferencesDialog
from qtpy.QtCore import QSettings
from qtpy.QtWidgets import QComboBox, QLineEdit, QSpinBox

from napari_mrtrans.paths import user_checkpoint_dir
from napari_mrtrans.widgets.checkpoints.dock import CheckpointsWidget
from napari_mrtrans.widgets.layer_kinds import KeepSamples
from napari_mrtrans.widgets.preferences import PLUGIN, defaults
from napari_mrtrans.widgets.transform.dock import TransformWidget
from napari_mrtrans.widgets.transform.form import SliceRange, TransformForm

from .conftest import write_card


@pytest.fixture
def viewer(make_napari_viewer, checkpoints, brain):
    """A viewer with one T1."""
    viewer = make_napari_viewer()
    viewer.add_image(brain, name="sub-01_T1w")
    return viewer


@pytest.fixture
def open_form(viewer, qtbot):
    """Makes another form, as a new dock does."""

    def make() -> TransformForm:
        form = TransformForm(viewer)
        qtbot.addWidget(form)
        return form

    return make


def said(form: TransformForm) -> dict[str, object]:
    """Everything that a run would take from the form."""
    settings = form.settings(form.pair)
    others = {name: getattr(settings, name) for name in ("this_slice", "keep_samples", "calibrated")}
    return {**settings.request.to_json(), **others}


# --- preferences --------------------------------------------------------------------------------------------------


def test_shown_in_the_preferences_dialog_and_kept_in_a_file(open_form, qtbot, own_settings):
    dialog = PreferencesDialog()
    qtbot.addWidget(dialog)
    titles = [dialog._list.item(row).text() for row in range(dialog._list.count())]
    page = dialog._stack.widget(titles.index("MR contrast transformation"))
    samples, device = page.findChild(QSpinBox), page.findChild(QComboBox)
    assert samples.value() == 20
    assert page.findChild(QLineEdit) is not None
    samples.setValue(7)
    device.setCurrentText("cpu")
    dialog.accept()
    form = open_form()
    assert form.samples.value() == 7 and said(form)["device"] == "cpu"
    text = (own_settings / f"{PLUGIN}.yaml").read_text()
    assert "samples: 7" in text and "device: cpu" in text


def test_an_open_dock_follows(open_form):
    form = open_form()
    defaults().samples = 9
    defaults().device = "cuda"
    assert form.samples.value() == 9 and said(form)["device"] == "cuda"


@pytest.mark.parametrize("name, value", [("samples", 0), ("samples", 1001), ("device", "tpu")])
def test_nonsense_is_refused_by_napari(open_form, name, value):
    with pytest.raises(ValueError):
        setattr(defaults(), name, value)


def test_checkpoint_folder(viewer, qtbot, monkeypatch, tmp_path):
    monkeypatch.delenv("NAPARI_MRTRANS_CHECKPOINTS")
    usual = user_checkpoint_dir()
    folder = tmp_path / "lab"
    folder.mkdir()
    write_card(folder, "lab-flow", "flow", ["T1->PD"])
    dock = TransformWidget(viewer)
    qtbot.addWidget(dock)
    form = dock.form
    assert form.target.findText("PD") < 0
    defaults().checkpoint_folder = str(folder)
    assert user_checkpoint_dir() == folder
    assert form.target.findText("PD") >= 0
    defaults().checkpoint_folder = ""
    assert user_checkpoint_dir() == usual and form.target.findText("PD") < 0


def test_home_in_the_folder_is_the_user_s(open_form, monkeypatch):
    monkeypatch.delenv("NAPARI_MRTRANS_CHECKPOINTS")
    open_form()
    defaults().checkpoint_folder = "~/models"
    assert user_checkpoint_dir() == Path.home() / "models"


def test_the_environment_overrides_the_folder(open_form, checkpoints, tmp_path):
    open_form()
    defaults().checkpoint_folder = str(tmp_path)
    assert user_checkpoint_dir() == checkpoints


def test_a_folder_that_is_not_there_is_told(viewer, qtbot, monkeypatch, tmp_path):
    monkeypatch.delenv("NAPARI_MRTRANS_CHECKPOINTS")
    dock = CheckpointsWidget(viewer)
    qtbot.addWidget(dock)
    assert not dock.message.text()
    defaults().checkpoint_folder = str(tmp_path / "absent")
    assert dock.message.text() == f"The folder of the preferences is not there yet: '{tmp_path / 'absent'}'."


def test_without_the_manifest_the_built_in_defaults_hold(open_form, monkeypatch):
    def unknown(name):
        raise KeyError(name)

    monkeypatch.setattr("napari_mrtrans.widgets.preferences.get_plugin_settings", unknown)
    form = open_form()
    assert form.samples.value() == 20 and said(form)["device"] == "auto"


def test_settings_of_tests_are_not_the_user_s(own_settings):
    assert Path(napari.settings.get_plugin_settings(PLUGIN).config_path).parent == own_settings


# --- last used ----------------------------------------------------------------------------------------------------


def choose_everything(form):
    """Something else than the default everywhere."""
    form.target.setCurrentText("FLAIR")
    form.samples.setValue(5)
    form.range.setCurrentText(SliceRange.CURRENT.value)
    fields = form.advanced.fields
    for name, text in {"device": "cuda:1", "sampler": "heun", "keep_samples": KeepSamples.STACK.value}.items():
        fields[name].setCurrentText(text)
    fields["batch"].setValue(4)
    fields["steps"].setValue(3)
    for name in ("calibrated", "prepare"):
        fields[name].setChecked(False)


def test_what_was_used_comes_back(open_form, viewer):
    form = open_form()
    choose_everything(form)
    assert said(open_form())["n"] == 20, "chosen, but not used"
    form.remember()
    again = open_form()
    assert said(again) == said(form) and said(again)["steps"] == 3 and said(again)["sampler"] == "heun"
    assert again.pair == form.pair and again.slice_range is SliceRange.CURRENT


def test_pressing_transform_is_using(bench, engine, brain, open_form):
    bench.viewer.add_image(brain, name="sub-02_T1w")
    bench.dock.form.target.setCurrentText("T2")
    bench.dock.form.model.setCurrentText("direct · T1→T2")
    bench.run()
    assert open_form().checkpoint.name == "one-direct"


def test_target_is_remembered_for_each_source(open_form):
    form = open_form()
    form.target.setCurrentText("FLAIR")
    form.remember()
    form.source.setCurrentText("T2")
    form.remember()
    again = open_form()
    assert again.target.currentText() == "FLAIR"
    again.source.setCurrentText("T2")
    assert again.target.currentText() == "T1"


def test_a_model_stays_when_the_target_changes(open_form, checkpoints):
    write_card(checkpoints, "many-ddpm", "ddpm", ["T1->T2", "T1->FLAIR"])
    form = open_form()
    form.model.setCurrentText("ddpm · T1→T2")
    form.target.setCurrentText("FLAIR")
    assert form.checkpoint.name == "many-ddpm"


def test_what_is_gone_is_not_restored(open_form, checkpoints):
    path = write_card(checkpoints, "gone", "direct", ["T1->PD", "T1->T2"])
    form = open_form()
    form.target.setCurrentText("PD")
    form.remember()
    path.unlink()
    again = open_form()
    assert again.target.currentText() == "T2" and again.checkpoint.name == "many-flow"


@pytest.mark.parametrize("value", ["", "-3", "1e9", "9999999", "x"])
def test_damaged_values_are_ignored(open_form, own_settings, value):
    own_settings.mkdir(exist_ok=True)
    settings = QSettings(str(own_settings / "last-used.ini"), QSettings.Format.IniFormat)
    names = ("samples", "slices", "device", "batch", "sampler", "steps", "keep_samples", "calibrated", "target/T1")
    for name in (*names, "model"):
        settings.setValue(name, value)
    settings.sync()
    damaged = open_form()
    settings.clear()
    settings.sync()
    assert said(damaged) == said(open_form())


def test_a_file_that_is_none_is_ignored(open_form, own_settings):
    own_settings.mkdir(exist_ok=True)
    (own_settings / "last-used.ini").write_bytes(bytes(range(256)))
    assert said(open_form())["n"] == 20


def test_a_preference_that_is_changed_in_sight_of_a_dock_goes_before_what_was_used_last(open_form):
    form = open_form()
    form.samples.setValue(8)
    form.remember()
    defaults().samples = 30
    assert form.samples.value() == 30 and open_form().samples.value() == 30


def test_a_preference_goes_before_what_was_the_preference(open_form):
    """What nobody changed in the dock follows the preferences."""
    form = open_form()
    form.remember()
    defaults().samples = 50
    assert open_form().samples.value() == 50

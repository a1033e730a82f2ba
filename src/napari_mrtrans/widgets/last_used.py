"""What was chosen last comes back in the next dock, as far as it still makes sense."""

from __future__ import annotations

from collections.abc import Mapping

from qtpy.QtCore import QSettings
from qtpy.QtWidgets import QCheckBox, QComboBox, QSpinBox

from ..paths import last_used_file
from ..scan.contrasts import Pair

Field = QSpinBox | QComboBox | QCheckBox


def settings() -> QSettings:
    """What is kept of earlier windows."""
    return QSettings(str(last_used_file()), QSettings.Format.IniFormat)


class LastUsed:
    """Remembers the fields of a form in a file, by name; a value that is the preferred one anyway is forgotten.

    Args:
        fields: Names and widgets, which show what is preferred.
    """

    def __init__(self, fields: Mapping[str, Field]) -> None:
        self._fields = dict(fields)
        self._preferred = {name: _read(field) for name, field in fields.items()}
        self._settings = settings()

    def prefer(self, name: str, text: str) -> None:
        """The preference for a field is what the field says from now on."""
        _write(self._fields[name], text)
        self._preferred[name] = _read(self._fields[name])

    def forget(self, name: str) -> None:
        """What was chosen last in a field does not come back: another value is preferred since."""
        self._settings.remove(name)

    def restore(self) -> None:
        """Set the fields; what is no value for its field is ignored."""
        for name, field in self._fields.items():
            if self._settings.contains(name):
                _write(field, str(self._settings.value(name)))

    def remember(self, pair: Pair, model: str) -> None:
        """These choices were used, with a model's installed name."""
        for name, field in self._fields.items():
            value = _read(field)
            if value == self._preferred[name]:
                self._settings.remove(name)
            else:
                self._settings.setValue(name, value)
        self._settings.setValue(f"target/{pair.source}", pair.target.value)
        self._settings.setValue("model", model)
        self._settings.sync()

    def prefer_model(self, model: str) -> None:
        """A model, by its installed name, is to be chosen where nothing else is."""
        self._settings.setValue("model", model)
        self._settings.sync()

    def target(self, source: str) -> str:
        """The target chosen last for a source contrast, or empty."""
        return str(self._settings.value(f"target/{source}", ""))

    @property
    def model(self) -> str:
        """Installed name of the model used last, or empty."""
        return str(self._settings.value("model", ""))


def _read(field: Field) -> str:
    if isinstance(field, QSpinBox):
        return str(field.value())
    if isinstance(field, QCheckBox):
        return "yes" if field.isChecked() else "no"
    return field.currentText().partition(" (")[0]  # which default it is depends on the model


def _write(field: Field, text: str) -> None:
    if isinstance(field, QSpinBox):
        if text.isdecimal() and field.minimum() <= int(text) <= field.maximum():
            field.setValue(int(text))
    elif isinstance(field, QCheckBox):
        if text in ("yes", "no"):
            field.setChecked(text == "yes")
    elif field.findText(text) >= 0 or (field.isEditable() and _acceptable(field, text)):
        field.setCurrentText(text)


def _acceptable(combo: QComboBox, text: str) -> bool:
    validator = combo.validator()
    return validator is not None and validator.validate(text, 0)[0] == validator.State.Acceptable

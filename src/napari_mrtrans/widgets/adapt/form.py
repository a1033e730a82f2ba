"""The form: whose scans, which model, how many minutes, and what the site is called."""

from __future__ import annotations

from enum import StrEnum
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.compat import isalive
from qtpy.QtCore import QTimer, Signal
from qtpy.QtWidgets import (
    QComboBox,
    QDoubleSpinBox,
    QFormLayout,
    QLineEdit,
    QWidget,
)

from ...asked.begun import SCANS, Begun, free_folder, not_ended
from ...asked.place import at_work
from ...asked.settings import UNNAMED, Settings, check_free
from ...checkpoints.library import list_checkpoints
from ...errors import MrtransError
from ...models.families import POOL, family_of
from ..model_combo import ModelCombo
from ..named_text import NamedText
from ..path_row import PathRow
from ..placement import check_axial
from ..preferences import defaults
from ..wording import for_adapting
from .look import Found, look_later
from .pairs import LayerPairs

if TYPE_CHECKING:
    from napari.components import ViewerModel

    from ...checkpoints.checkpoint import Checkpoint

#: After the last key in the line of the folder, it is looked at.
SETTLE_MS = 300
_CRITIC = "Its critic starts from nothing, so that a few minutes do little for it."


@cache
def _has_trainer() -> bool:
    return all(find_spec(name) is not None for name in ("lightning_fabric", "filelock"))


class Scans(StrEnum):
    """Where the sessions are."""

    FOLDER = "A folder of sessions"
    LAYERS = "Open images"


class AdaptForm(QWidget):
    """Everything that is asked before an adaptation.

    Signals:
        changed: Any choice changed; :attr:`problem` may have changed with it.
    """

    changed = Signal()

    def __init__(self, viewer: ViewerModel, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        # at once: they say which folder is the user's, and napari takes a second to find them the first time
        self._preferred = defaults()
        self.scans, self.model = QComboBox(), ModelCombo()
        self.scans.addItems([choice.value for choice in Scans])
        self.scans.setAccessibleName("Where the sessions are")
        self.model.setAccessibleName("Model to start from")
        self.folder = PathRow("Sessions of your scanner", "Choose…")
        self.folder.line.setPlaceholderText("my_bids_folder")
        self.folder.setToolTip(
            "BIDS (sub-01/anat/sub-01_T1w.nii.gz …), one subject of it, or a data set as downloaded. Whole heads, and "
            "contrasts on different grids, are registered and stripped first, which takes minutes for each."
        )
        self.pairs = LayerPairs(viewer)
        self.found, self.makes = NamedText(), NamedText()
        self.minutes = QDoubleSpinBox()
        self.minutes.setRange(0.5, 1440)
        self.minutes.setDecimals(1)
        self.minutes.setValue(10)
        self.minutes.setSuffix(" min")
        self.minutes.setToolTip("For training and figures. Preparing whole heads comes before.")
        self.site = QLineEdit(UNNAMED)
        self.site.setToolTip("What the new model is called, before its kind. Letters, digits, '.', '+' and '-'.")
        self._found = Found()
        self._taken = ""
        self._build()
        self._settle = QTimer(self)
        self._settle.setSingleShot(True)
        self._settle.setInterval(SETTLE_MS)
        self._settle.timeout.connect(self._look)
        self.folder.changed.connect(self._on_folder)
        self.folder.chosen.connect(self._settle.start)
        self.scans.currentIndexChanged.connect(self._show)
        self.pairs.changed.connect(self._show)
        self.model.currentIndexChanged.connect(self._on_name)
        self.site.textChanged.connect(self._on_name)
        self.minutes.valueChanged.connect(self.changed)
        self.reload()

    def _build(self) -> None:
        rows = QFormLayout(self)
        rows.setContentsMargins(0, 0, 0, 0)
        rows.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        rows.addRow("Scans", self.scans)
        rows.addRow("Folder", self.folder)
        rows.addRow("", self.found)
        rows.addRow(self.pairs)
        rows.addRow("Model", self.model)
        rows.addRow("Time", self.minutes)
        rows.addRow("Name", self.site)
        rows.addRow("", self.makes)
        self.rows = rows

    @property
    def from_layers(self) -> bool:
        """The sessions are images that are open."""
        return self.scans.currentText() == Scans.LAYERS

    @property
    def checkpoint(self) -> Checkpoint | None:
        """The model to start from."""
        return self.model.checkpoint

    @property
    def problem(self) -> str:
        """What keeps this from being begun, in a line; empty where nothing does."""
        if not _has_trainer():
            return "Adapting needs the trainer: pip install 'napari-mrtrans[train]'."
        if self.checkpoint is None:
            return "No model is installed."
        return (self.pairs.problem if self.from_layers else self._problem_of_folder()) or self._problem_of_pairs()

    def _problem_of_folder(self) -> str:
        if self.folder.path is None:
            return "Choose the folder with complete sessions of your scanner, or take images that are open."
        if self._found == Found():
            return "Looking at the folder…"
        return for_adapting(self._found.problem)

    def _problem_of_pairs(self) -> str:
        parent = self.checkpoint
        if parent is None:
            return ""
        contrasts = {contrast for pair in parent.pairs for contrast in pair}
        if self.from_layers:
            asked = list(dict.fromkeys(one.pair for one in self.pairs.pairs))
            single = not parent.card.options.get("conditional", True)
            if single and len(asked) > 1:
                return f"'{parent.name}' knows one pair only; take pairs of {asked[0]} alone, or another model."
            if unknown := [pair for pair in asked if not {*pair} <= contrasts]:
                known = ", ".join(sorted(contrasts))
                return f"'{parent.name}' knows {known}; take another model for {unknown[0]}."
        elif self._found.problem_for(parent):
            return self._found.problem_for(parent)
        return self._taken

    def begun(self) -> Begun:
        """What the form asks for.

        Raises:
            MrtransError: the form has a problem, or an open image does not tell which of its axes is axial.
        """
        parent = self.checkpoint
        if self.problem or parent is None:
            raise MrtransError(self.problem)
        for pair in self.pairs.pairs if self.from_layers else ():
            check_axial(pair.source)
            check_axial(pair.target)
        Settings(self.minutes.value(), self.site.text())
        folder = free_folder(f"{self.site.text()}-{parent.card.model}")
        asked = tuple(dict.fromkeys(one.pair.key for one in self.pairs.pairs)) if self.from_layers else ()
        data = folder / SCANS if self.from_layers else (self.folder.path or Path()).absolute()
        return Begun(
            data, parent.name, parent.card.model, self.minutes.value(), self.site.text(), asked, self._preferred.device,
            folder=folder,
        )  # fmt: skip

    def reload(self) -> None:
        """Look again at what is installed, and at the folder."""
        if not isalive(self):
            return
        self.model.offer([(one.name, one) for one in list_checkpoints() if one.card.model != POOL])
        self._settle.start()  # the folder may hold other files by now
        self._on_name()

    def _on_name(self) -> None:
        parent = self.checkpoint
        self._taken = "" if parent is None else self._why_not(parent, self.site.text())
        self._show()

    def _why_not(self, parent: Checkpoint, site: str) -> str:
        """Why the result cannot be called so."""
        try:
            name = Settings(1.0, site).checkpoint_name(parent)
            check_free(name)
        except MrtransError as error:
            return for_adapting(str(error))
        if (there := next((one for one in not_ended() if one.name == name), None)) is None:
            return ""
        if at_work(there.folder):
            return f"'{name}' is being made in another window; wait until it is, or choose another name."
        return f"'{name}' was begun and not finished: go on with it or discard it, or choose another name."

    def _on_folder(self) -> None:
        self._found = Found()
        self._settle.start()
        self._show()

    def _look(self) -> None:
        path = self.folder.path
        if path is not None:
            look_later(path, lambda found: self._on_found(path, found))

    def _on_found(self, path: Path, found: Found) -> None:
        if isalive(self) and path == self.folder.path and found != self._found:
            self._found = found
            self._show()

    def _show(self) -> None:
        if not isalive(self):
            return
        layers, parent = self.from_layers, self.checkpoint
        self.rows.setRowVisible(self.folder, not layers)
        self.rows.setRowVisible(self.found, not layers and bool(self._found.line))
        self.rows.setRowVisible(self.pairs, layers)
        self.found.setText(self._found.line)
        if parent is not None:
            slow = _CRITIC if family_of(parent.card.model).has_critic(parent.card.options) else ""
            named = self.site.text().strip() or "…"
            self.makes.setText(f"Makes '{named}-{parent.card.model}'; '{parent.name}' stays as it is. {slow}".strip())
        self.changed.emit()

"""Asks for the address of a checkpoint and its digest."""

from __future__ import annotations

from qtpy.QtWidgets import QDialog, QDialogButtonBox, QFormLayout, QLabel, QLineEdit, QWidget

from ...checkpoints.installing import check_digest
from ...errors import CheckpointError


class DownloadDialog(QDialog):
    """Address and SHA-256; accepts nothing but a whole digest."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle("Download a checkpoint")
        self.url = QLineEdit()
        self.url.setPlaceholderText("https://…/name.safetensors")
        self.sha256 = QLineEdit()
        self.sha256.setPlaceholderText("64 hexadecimal digits")
        self.sha256.setToolTip("From the page that offers the file: it proves that you get what its makers published.")
        self.problem = QLabel()
        self.problem.setWordWrap(True)
        self.problem.hide()
        self._buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Ok | QDialogButtonBox.StandardButton.Cancel)
        self._buttons.accepted.connect(self.accept)
        self._buttons.rejected.connect(self.reject)
        rows = QFormLayout(self)
        rows.addRow("Address", self.url)
        rows.addRow("SHA-256", self.sha256)
        rows.addRow(self.problem)
        rows.addRow(self._buttons)
        self.setMinimumWidth(520)

    def accept(self) -> None:
        """Close if both can be right, else say what is not."""
        try:
            if not self.url.text().strip():
                raise CheckpointError("Which file? Copy its address.")
            check_digest(self.sha256.text())
        except CheckpointError as error:
            self.problem.setText(str(error))
            self.problem.show()
            return
        super().accept()

    @classmethod
    def ask(cls, parent: QWidget) -> tuple[str, str] | None:
        """Address and digest, or None where the user closed the dialog."""
        dialog = cls(parent)
        accepted = dialog.exec() == QDialog.DialogCode.Accepted
        dialog.deleteLater()
        return (dialog.url.text().strip(), dialog.sha256.text()) if accepted else None

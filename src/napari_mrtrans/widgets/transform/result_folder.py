"""Where the next result is proposed to go."""

from __future__ import annotations

from pathlib import Path


class ResultFolder:
    """Beside its own scan, until results are collected in a folder that is no scan's own.

    So a result never goes among the scans of somebody else because the last one went beside its own.
    """

    def __init__(self) -> None:
        self._collected: Path | None = None

    def proposed(self, scan: Path | None) -> Path:
        """For a result of the scan in this file; None: of an image that is in no file."""
        return self._collected or self._beside(scan) or Path.home()

    def chosen(self, folder: Path, scan: Path | None) -> None:
        """A result of ``scan`` went to ``folder``."""
        self._collected = None if folder.absolute() == self._beside(scan) else folder

    @staticmethod
    def _beside(scan: Path | None) -> Path | None:
        return None if scan is None else scan.absolute().parent

"""What one DICOM file says of its slice, as far as it is needed; what it says of the patient stays in here."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .charset import CHARSET, decoded

DESCRIPTION, PROTOCOL, SEQUENCE_NAME = "0008|103e", "0018|1030", "0018|0024"
STUDY, STUDY_DATE = "0020|000d", "0008|0020"
_PATIENT = "0010|"
#: Of whatever else a file says, nothing is taken in.
_NEEDED = {
    CHARSET, DESCRIPTION, PROTOCOL, SEQUENCE_NAME, STUDY, STUDY_DATE,
    "0008|0008", "0008|0016", "0008|0018", "0008|0060", "0018|0010", "0018|0015", "0018|0020", "0018|0021",
    "0018|0025", "0018|0080", "0018|0081", "0018|0082", "0018|0086", "0018|9005", "0020|000e", "0020|0011",
    "0020|0032", "0020|0037", "0028|0002", "0028|0008", "0028|0010", "0028|0011", "0028|0030",
}  # fmt: skip
#: Sex, age, size and weight, which name nobody, and the like of them.
_HARMLESS = {"0010|0040", "0010|1010", "0010|1020", "0010|1030"}
#: Values of patients' tags that many have.
_COMMON = {
    "anonymous",
    "anonymized",
    "anonymised",
    "anon",
    "unknown",
    "none",
    "null",
    "patient",
    "subject",
    "brain",
    "head",
}
#: Headers that are remembered: those of a large study.
KEPT = 8192
_WORD = re.compile(r"\w+")
_NAME = re.compile(r"[^\W_]{3,}|[^\W\d_\u0000-\u024f]{1,2}")


@dataclass(frozen=True)
class Header:
    """The header of one file.

    Attributes:
        path: The file.
        tags: By ``gggg|eeee`` in lower case, as SimpleITK gives them.
    """

    path: Path
    tags: dict[str, str] = field(repr=False)

    def text(self, tag: str) -> str:
        """A tag's value, empty where it is not there."""
        return self.tags.get(tag, "").strip(" \0")

    def parts(self, tag: str) -> list[str]:
        """The values of a tag that has several, in capitals."""
        return [part.strip() for part in self.text(tag).upper().split("\\") if part.strip()]

    def numbers(self, tag: str) -> list[float]:
        """The values of a tag that are numbers; none where one is not."""
        try:
            return [float(part) for part in self.text(tag).split("\\") if part.strip()]
        except ValueError:
            return []

    def number(self, tag: str) -> float | None:
        """The first of :meth:`numbers`."""
        return next(iter(self.numbers(tag)), None)

    @property
    def position(self) -> NDArray[np.float64] | None:
        """(3,) LPS millimetres of the first voxel."""
        found = self.numbers("0020|0032")
        return np.array(found) if len(found) == 3 else None

    @property
    def axes(self) -> NDArray[np.float64] | None:
        """(2, 3) directions of a row and of a column."""
        found = self.numbers("0020|0037")
        return np.array(found).reshape(2, 3) if len(found) == 6 else None

    @property
    def patient_words(self) -> set[str]:
        """All that the patient's tags hold of three letters or more, in lower case: what nothing else may hold.

        Of scripts that write a name in a letter or two, those as well.
        """
        values = [value for tag, value in self.tags.items() if tag.startswith(_PATIENT) and tag not in _HARMLESS]
        return _words(*values)

    @property
    def person(self) -> tuple[str, str]:
        """Name and number of the patient."""
        return self.text("0010|0010"), self.text("0010|0020")

    @property
    def names_person(self) -> bool:
        """Whether these tell who it is, and are not empty or "anonymous"."""
        return bool(_words(*self.person))

    def names_patient(self, text: str) -> bool:
        """Whether ``text`` holds a word of the patient's tags; a short one only where it stands alone.

        Ann is in every scanner.
        """
        plain = _folded(text)
        alone = set(re.findall(r"[^\W_]+", plain))
        return any(word in plain if len(word) > 3 else word in alone for word in self.patient_words)

    @property
    def label(self) -> str:
        """``3 t1_mprage``: number and description of the series, without words of the patient's tags."""
        words = self.text(DESCRIPTION) or self.text(PROTOCOL)
        said = _WORD.sub(lambda found: "…" if self.names_patient(found[0]) else found[0], words)
        return f"{self.text('0020|0011') or '?'} {said[:40]}".strip()


def _words(*values: str) -> set[str]:
    return {word for value in values for word in _NAME.findall(_folded(value))} - _COMMON


def _folded(text: str) -> str:
    """Without the differences of capitals, and of letters with their marks apart, as some systems write file names."""
    return unicodedata.normalize("NFC", text).casefold()


def read_header(path: Path) -> Header | None:
    """The header of a file; None where SimpleITK cannot read it."""
    with suppress(OSError, RuntimeError, UnicodeDecodeError):
        found = path.stat()
        return _read(path, (found.st_ino, found.st_size, found.st_mtime_ns))
    return None


@lru_cache(maxsize=KEPT)
def _read(path: Path, stamp: tuple[int, int, int]) -> Header:
    """Of a file as it is by now; a study is looked through once for each of its series."""
    import SimpleITK as sitk

    del stamp
    reader = sitk.ImageFileReader()
    reader.SetImageIO("GDCMImageIO")
    reader.SetFileName(str(path))
    with quiet():
        reader.ReadImageInformation()
    keys = {key: key.lower() for key in reader.GetMetaDataKeys()}
    known = {key: low for key, low in keys.items() if low in _NEEDED or low.startswith(_PATIENT)}
    texts = {low: reader.GetMetaData(key) for key, low in known.items()}
    charset = texts.get(CHARSET, "")
    return Header(path, {low: decoded(text, charset) for low, text in texts.items()})


def unreadable_line(path: Path) -> str:
    """For what SimpleITK cannot read."""
    return (
        f"'{path}' is DICOM that SimpleITK cannot read: damaged, or compressed in a way that it does not know. "
        "Convert it with dcm2niix and give the NIfTI file."
    )


@contextmanager
def quiet() -> Iterator[None]:
    """Keep ITK's remarks off stderr: what a user must know is in our own line."""
    import SimpleITK as sitk

    before = sitk.ProcessObject.GetGlobalWarningDisplay()
    sitk.ProcessObject.SetGlobalWarningDisplay(False)
    try:
        yield
    finally:
        sitk.ProcessObject.SetGlobalWarningDisplay(before)

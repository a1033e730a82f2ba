"""The slices of one volume: which files of a series they are, and why they are none."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..scan.contrasts import Contrast
from ..wording import plural
from .contrast_of import guess, other_kind
from .header import Header

#: A localizer has three slices or fewer.
LOCALIZER = 3
#: A brain among other series has more slices than these.
FEW = 8
#: Slices are evenly spaced where no gap differs more from the others, of the gap and in mm; and none may lie further
#: from where it would in a straight stack, of a pixel and of a gap.
UNEVEN, ROUNDING_MM, ASTRAY = 0.05, 0.02, 0.3
_ENHANCED = ("1.2.840.10008.5.1.4.1.1.4.1", "1.2.840.10008.5.1.4.1.1.4.3", "1.2.840.10008.5.1.4.1.1.4.4")
#: The doubt of files that hold all slices of a volume.
MULTI_FRAME = "multi-frame"
#: What to do with several volumes of one series.
_APART = "put the files of one volume into a folder of their own, or convert it with dcm2niix"
#: What tells images of one place apart: type, echo, echo's number.
_KINDS = ("0008|0008", "0018|0081", "0018|0086")


@dataclass(frozen=True)
class Stack:
    """Files of one volume, in order of place.

    Attributes:
        files: One for each slice.
        header: Of one of them.
        contrast: By the header; None where it does not tell.
        source: Where in the header it stands.
        refusal: Why it can be read as no volume, from "is" on; empty where it can.
        doubt: Why it is hardly a structural image of a brain; empty where it may be one.
        alone: No other volume has the same series.
        kind: What tells it from the others of its series, in words; empty where it is alone, or nothing does.
        lost: How many files of it cannot be read, beside those in ``files``.
        doubtful: How many that cannot be read may be of it or of another series beside it.
    """

    files: tuple[Path, ...]
    header: Header
    contrast: Contrast | None
    source: str
    refusal: str = ""
    doubt: str = ""
    alone: bool = True
    kind: str = ""
    lost: int = 0
    doubtful: int = 0

    @property
    def usable(self) -> bool:
        """It may be the one that is looked for."""
        return not self.refusal and not self.doubt

    @property
    def derived(self) -> bool:
        """It was computed from others."""
        return self.header.parts("0008|0008")[:1] == ["DERIVED"]

    @property
    def line(self) -> str:
        """``3 t1_mprage (T1, 176 slices)``, ``4 pd+t2_tse (T2, TE 90 ms, 30 slices)``."""
        why = "" if self.lost else self.refusal.removeprefix("is ")
        what = self.doubt or (str(self.contrast) if self.contrast else why)
        count = plural(len(self.files), "slice")
        lost = f"{plural(self.lost, 'file')} that cannot be read" if self.lost else ""
        return f"{self.header.label} ({', '.join(filter(None, (what, self.kind, count, lost)))})"


def stacks_of(headers: list[Header]) -> list[Stack]:
    """The volumes of a series: several where it has several echoes, or magnitude and phase."""
    middle = headers[len(headers) // 2]
    if refusal := _refusal_by_kind(middle, len(headers)):
        files = tuple(header.path for header in headers)
        return [Stack(files, middle, None, "", refusal, _doubt(middle, len(headers)))]
    kinds: dict[tuple[str, ...], list[Header]] = {}
    if _repeated(headers):
        for header in headers:
            kinds.setdefault(tuple(header.text(tag) for tag in _KINDS), []).append(header)
    groups = list(kinds.values()) or [headers]
    told = _told_apart([group[0] for group in groups])
    return [_stack(group, alone=len(groups) == 1, kind=kind) for group, kind in zip(groups, told, strict=True)]


def _told_apart(headers: list[Header]) -> list[str]:
    """In words, what each has of :data:`_KINDS` that others have not; empty where that is nothing."""
    types, echoes, numbers = ([header.parts(tag) for header in headers] for tag in _KINDS)
    said = []
    for k, header in enumerate(headers):
        words = [part for part in types[k] if any(part not in other for other in types)]
        if any(echo != echoes[k] for echo in echoes) and (time := header.number(_KINDS[1])) is not None:
            words.append(f"TE {time:g} ms")
        elif any(number != numbers[k] for number in numbers) and numbers[k]:
            words.append(f"echo {numbers[k][0]}")
        said.append(", ".join(word for word in words if not header.names_patient(word)))
    return said


def _stack(headers: list[Header], *, alone: bool, kind: str) -> Stack:
    middle = headers[len(headers) // 2]
    ordered, refusal = _in_order(headers)
    contrast, source = guess(middle)
    return Stack(tuple(ordered), middle, contrast, source, refusal, _doubt(middle, len(headers)), alone, kind)


def _refusal_by_kind(header: Header, count: int) -> str:
    if (modality := header.text("0008|0060")) != "MR":
        return f"is of modality {modality or 'unknown'}, not MR; give another series"
    if _is_multi_frame(header):
        return "is multi-frame (enhanced) DICOM; convert it with dcm2niix and give the NIfTI file"
    if (header.number("0028|0002") or 1) > 1:
        return "is a picture in colours, not a scan; give another series"
    if count > LOCALIZER:
        return ""
    return f"is a localizer or a single picture, with {plural(count, 'slice')}; give the whole series"


def _is_multi_frame(header: Header) -> bool:
    return header.text("0008|0016") in _ENHANCED or (header.number("0028|0008") or 1) > 1


def _doubt(header: Header, count: int) -> str:
    if (modality := header.text("0008|0060")) != "MR":
        return modality or "unknown"
    if kind := other_kind(header):
        return kind
    if _is_multi_frame(header):
        return MULTI_FRAME
    if count <= LOCALIZER:
        return "localizer"
    part = header.text("0018|0015").upper()
    if part and not any(word in part for word in ("HEAD", "BRAIN", "SKULL", "NECK", "CRAN", "KOPF", "TETE", "NEURO")):
        return "another part of the body" if header.names_patient(part) else part.lower()
    return "too few for a brain" if count < FEW else ""


def _places(headers: Iterable[Header]) -> NDArray[np.float64] | None:
    """(n, 3) positions; None where one has none."""
    found = [header.position for header in headers]
    return None if any(place is None for place in found) else np.array(found)


def _repeated(headers: list[Header]) -> bool:
    """Some place is there twice."""
    places = _places(headers)
    return places is not None and len(np.unique(places.round(2), axis=0)) < len(places)


def _in_order(headers: list[Header]) -> tuple[list[Path], str]:
    """Files by their place along the normal of the slices, and why they make no volume; empty where they do."""
    files = [header.path for header in headers]
    places, axes = _places(headers), [header.axes for header in headers]
    first = axes[0]
    if places is None or first is None or any(one is None for one in axes):
        return files, "does not say where its slices lie; convert it with dcm2niix"
    if any(np.abs(one - first).max() > 0.01 for one in axes if one is not None):
        return files, f"is a localizer or a mixture: its slices lie in several planes; {_APART}"
    sizes = {(header.text("0028|0010"), header.text("0028|0011"), header.text("0028|0030")) for header in headers}
    if len(sizes) > 1:
        return files, f"is a mixture: its slices are of several sizes; {_APART}"
    if len(pixel := headers[0].numbers("0028|0030")) != 2 or min(pixel) <= 0:
        return files, "does not say how large its pixels are; export the series again, or convert it with dcm2niix"
    normal = np.cross(*first)
    normal /= np.linalg.norm(normal)
    along = places @ normal
    order = np.argsort(along, kind="stable")
    files, gaps = [files[k] for k in order], np.diff(along[order])
    if len(gaps) == 0:
        return files, "is a single slice; give the whole series"
    usual = float(np.median(gaps))
    if gaps.min() < 0.01:
        return files, f"holds several images of every slice, a time series perhaps; {_APART}"
    steps = np.arange(len(along)) * np.mean(gaps)
    uneven = np.abs(gaps - usual).max() > UNEVEN * usual + ROUNDING_MM
    if uneven or np.abs(along[order] - along[order[0]] - steps).max() > ASTRAY * usual + ROUNDING_MM:
        return files, (
            f"has slices {gaps.min():.3g} to {gaps.max():.3g} mm apart: some are missing or do not belong to it; "
            "export the series again"
        )
    offsets = places[order] - places[order[0]]
    aside = np.linalg.norm(offsets - np.outer(offsets @ normal, normal), axis=1)
    if aside.max() > ASTRAY * min(pixel) + ROUNDING_MM:
        return files, "has slices that are shifted against one another (a tilted gantry?); convert it with dcm2niix"
    return files, ""

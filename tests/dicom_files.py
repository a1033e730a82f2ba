"""DICOM series written byte by byte, so that tests say what a file holds and no library tidies it up."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from pathlib import Path

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

MR = "1.2.840.10008.5.1.4.1.1.4"
EXPLICIT = "1.2.840.10008.1.2.1"
_LONG = {"OB", "OW", "UN", "UT", "SQ"}
#: Value representations of the tags that tests set.
_VR = {
    "0002|0001": "OB", "0002|0002": "UI", "0002|0003": "UI", "0002|0010": "UI", "0002|0012": "UI",
    "0008|0008": "CS", "0008|0016": "UI", "0008|0018": "UI", "0008|0060": "CS", "0008|0080": "LO", "0008|0090": "PN",
    "0008|103e": "LO", "0010|0010": "PN", "0010|0020": "LO", "0010|0030": "DA", "0010|1000": "LO", "0010|1001": "PN",
    "0010|1040": "LO", "0010|4000": "LT", "0018|0010": "LO", "0018|0015": "CS", "0018|0020": "CS", "0018|0021": "CS",
    "0018|0024": "SH", "0018|0050": "DS", "0018|0080": "DS", "0018|0081": "DS", "0018|0082": "DS", "0018|1030": "LO",
    "0020|000d": "UI", "0020|000e": "UI", "0020|0011": "IS", "0020|0013": "IS", "0020|0032": "DS", "0020|0037": "DS",
    "0028|0002": "US", "0028|0004": "CS", "0028|0008": "IS", "0028|0010": "US", "0028|0011": "US", "0028|0030": "DS",
    "0028|0100": "US", "0028|0101": "US", "0028|0102": "US", "0028|0103": "US", "0028|1052": "DS", "0028|1053": "DS",
    "7fe0|0010": "OW",
}  # fmt: skip
MPRAGE = {
    "0008|103e": "t1_mprage_sag", "0018|0020": "GR\\IR", "0018|0080": "2300", "0018|0081": "2.98", "0018|0082": "900",
}  # fmt: skip


def _element(tag: str, value: str | int | bytes) -> bytes:
    group, element = (int(part, 16) for part in tag.split("|"))
    vr = _VR[tag]
    if isinstance(value, int):
        raw = struct.pack("<H", value)
    else:
        raw = value if isinstance(value, bytes) else value.encode("latin-1")
        raw += (b"\0" if vr in ("UI", "OB", "OW") else b" ") * (len(raw) % 2)
    length = struct.pack("<HI", 0, len(raw)) if vr in _LONG else struct.pack("<H", len(raw))
    return struct.pack("<HH", group, element) + vr.encode() + length + raw


def write_dicom(path: Path, tags: Mapping[str, str | int | bytes], syntax: str = EXPLICIT) -> Path:
    """One file of explicit little-endian elements, whatever ``syntax`` it states."""
    sop = str(tags.get("0008|0016", MR))
    about = {"0002|0001": b"\0\1", "0002|0002": sop, "0002|0003": str(tags["0008|0018"]), "0002|0010": syntax}
    meta = b"".join(_element(tag, value) for tag, value in about.items())
    size = struct.pack("<HH", 2, 0) + b"UL" + struct.pack("<HI", 4, len(meta))
    body = b"".join(_element(tag, tags[tag]) for tag in sorted(tags))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(bytes(128) + b"DICM" + size + meta + body)
    return path


def _numbers(values: NDArray[np.floating]) -> str:
    return "\\".join(f"{value:.6g}" for value in values)


def dicom_series(
    folder: Path,
    data: NDArray[np.integer],
    affine: NDArray[np.floating],
    *,
    uid: str = "1.2.3.4",
    first: int = 0,
    syntax: str = EXPLICIT,
    **tags: str | int,
) -> list[Path]:
    """A file for each slice k of ``data`` (i, j, k), placed by the affine (voxel to RAS mm); names in no order.

    ``tags`` are written as ``t0010_0010="DOE^JOHN"``.
    """
    lps = np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine
    sizes = nib.affines.voxel_sizes(affine)
    files = []
    for k in range(data.shape[2]):
        plane = np.ascontiguousarray(data[:, :, k].T)
        elements: dict[str, str | int | bytes] = {
            "0008|0008": "ORIGINAL\\PRIMARY\\M\\NORM", "0008|0016": MR, "0008|0018": f"{uid}.{first + k + 1}",
            "0008|0060": "MR", "0010|0010": "", "0020|000d": "1.2.3", "0020|000e": uid, "0020|0011": "3",
            "0020|0013": str(k + 1), "0020|0032": _numbers(lps[:3] @ [0, 0, k, 1]),
            "0020|0037": _numbers(np.concatenate([lps[:3, 0] / sizes[0], lps[:3, 1] / sizes[1]])),
            "0018|0050": f"{sizes[2]:.6g}", "0028|0002": 1, "0028|0004": "MONOCHROME2", "0028|0010": plane.shape[0],
            "0028|0011": plane.shape[1], "0028|0030": f"{sizes[1]:.6g}\\{sizes[0]:.6g}", "0028|0100": 16,
            "0028|0101": 16, "0028|0102": 15, "0028|0103": 0, "7fe0|0010": plane.astype("<u2").tobytes(),
        }  # fmt: skip
        elements |= {name[1:].replace("_", "|"): value for name, value in tags.items()}
        files.append(write_dicom(folder / f"IM{(first + k) * 7919 % 10007:05d}", elements, syntax))
    return files

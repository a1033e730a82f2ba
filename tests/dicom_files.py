"""DICOM series as a scanner writes them, to read in tests."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.datadict import dictionary_VR
from pydicom.dataset import FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import UID, ExplicitVRLittleEndian, MRImageStorage

MPRAGE = {
    "0008|103e": "t1_mprage_sag", "0018|0020": "GR\\IR", "0018|0080": "2300", "0018|0081": "2.98", "0018|0082": "900",
}  # fmt: skip


def _numbers(values: NDArray[np.floating]) -> str:
    return "\\".join(f"{value:.6g}" for value in values)


def _written(path: Path, elements: dict[str, str | int | bytes], syntax: UID) -> Path:
    one = Dataset()
    for name, value in elements.items():
        tag = int(name.replace("|", ""), 16)
        one.add_new(tag, "OW" if name == "7fe0|0010" else dictionary_VR(tag), value)
    one.file_meta = FileMetaDataset()
    one.file_meta.TransferSyntaxUID = syntax
    if syntax.is_compressed:
        one.PixelData = encapsulate([one.PixelData])
        one["PixelData"].VR = "OB"
    path.parent.mkdir(parents=True, exist_ok=True)
    one.save_as(path, enforce_file_format=True)
    return path


def dicom_series(
    folder: Path,
    data: NDArray[np.integer],
    affine: NDArray[np.floating],
    *,
    uid: str = "1.2.3.4",
    first: int = 0,
    syntax: str = ExplicitVRLittleEndian,
    **tags: str | int,
) -> list[Path]:
    """A file for each slice k of ``data`` (i, j, k), placed by the affine (voxel to RAS mm); names in no order.

    ``tags`` are written as ``t0010_0010="DOE^JOHN"``. A compressed ``syntax`` is stated, and the pixels are no image.
    """
    lps = np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine
    sizes = nib.affines.voxel_sizes(affine)
    files = []
    for k in range(data.shape[2]):
        plane = np.ascontiguousarray(data[:, :, k].T)
        elements: dict[str, str | int | bytes] = {
            "0008|0008": "ORIGINAL\\PRIMARY\\M\\NORM", "0008|0016": MRImageStorage,
            "0008|0018": f"{uid}.{first + k + 1}", "0008|0060": "MR", "0010|0010": "", "0020|000d": "1.2.3",
            "0020|000e": uid, "0020|0011": "3",
            "0020|0013": str(k + 1), "0020|0032": _numbers(lps[:3] @ [0, 0, k, 1]),
            "0020|0037": _numbers(np.concatenate([lps[:3, 0] / sizes[0], lps[:3, 1] / sizes[1]])),
            "0018|0050": f"{sizes[2]:.6g}", "0028|0002": 1, "0028|0004": "MONOCHROME2", "0028|0010": plane.shape[0],
            "0028|0011": plane.shape[1], "0028|0030": f"{sizes[1]:.6g}\\{sizes[0]:.6g}", "0028|0100": 16,
            "0028|0101": 16, "0028|0102": 15, "0028|0103": 0, "7fe0|0010": plane.astype("<u2").tobytes(),
        }  # fmt: skip
        elements |= {name[1:].replace("_", "|"): value for name, value in tags.items()}
        files.append(_written(folder / f"IM{(first + k) * 7919 % 10007:05d}", elements, UID(syntax)))
    return files

"""NIfTI files opened, and whatever is wrong with one said in a line."""

from __future__ import annotations

import gzip
import logging
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from ..errors import VolumeError

NIFTI_SUFFIXES = (".nii", ".nii.gz")
#: No file holds more than so many times its own bytes (gzip packs 1032 zeros into one).
MOST_PACKED = 1100
_ARCHIVE = re.compile(r"\.(zip|rar|7z|tar(\.\w+)?|tgz|tbz2?|txz)$", re.IGNORECASE)
#: DICOM files begin with a group of low number where their preamble is missing.
_NO_PREAMBLE = re.compile(rb"(\x02|\x08)\x00[\x00-\x60]\x00([A-Z]{2}|..\x00\x00)", re.DOTALL)
#: nibabel reads these as well.
_ENDING = re.compile(r"\.nii(\.gz|\.bz2)?$", re.IGNORECASE)


def stem(path: Path) -> str:
    """A file's name without its ending."""
    return _ENDING.sub("", path.name)


def is_nifti_name(name: str) -> bool:
    """Whether a file is called like a NIfTI image, in whatever case."""
    return name.lower().endswith(NIFTI_SUFFIXES)


def missing_line(path: Path) -> str | None:
    """Why there is nothing at ``path``; None where there is something."""
    try:
        if path.exists():
            return None
        if path.is_symlink():
            return f"'{path}' is a link to '{path.readlink()}', which is not there. Fetch that file first."
    except OSError as error:
        return f"'{_short(path)}' cannot be opened ({error.strerror or error})."
    return f"'{path}' does not exist."


def open_nifti(path: Path) -> nib.Nifti1Image:
    """A NIfTI image, its voxels not read yet.

    Raises:
        VolumeError: missing, unreadable, or not NIfTI.
    """
    if line := missing_line(path):
        raise VolumeError(line)
    if path.is_dir():
        raise VolumeError(f"'{path}' is a folder; expected a NIfTI file (.nii or .nii.gz).")
    if not path.is_file():  # opening it would wait for somebody to write
        raise VolumeError(f"'{path}' is a pipe or a device; expected a NIfTI file (.nii or .nii.gz).")
    if not os.access(path, os.R_OK):
        raise VolumeError(f"'{path}' cannot be read (no permission). Make it readable, or copy it again.")
    try:
        with _quiet_nibabel():
            image = nib.load(path)
    except Exception as error:  # nibabel and what it reads other formats with raise anything at a damaged file
        if _ENDING.search(path.name):
            raise VolumeError(
                f"'{path}' cannot be read as NIfTI ({_first_line(error)}). Copy or convert it again."
            ) from None
        raise VolumeError(_other_line(path)) from None
    if isinstance(image, nib.Nifti1Pair) and not isinstance(image, nib.Nifti1Image):
        raise VolumeError(
            f"'{path}' is one of a pair of files (.hdr and .img); write them as one .nii or .nii.gz first, e.g. with "
            "fslchfiletype NIFTI_GZ."
        )
    if not isinstance(image, nib.Nifti1Image):
        raise VolumeError(_other_line(path))
    return image


def _other_line(path: Path) -> str:
    """What to do with a file that is no NIfTI."""
    if _ARCHIVE.search(path.name):
        return f"'{path}' is an archive; unpack it, and give the scan or the folder of DICOM slices that is in it."
    try:
        with path.open("rb") as file:
            start = file.read(16)
    except OSError as error:
        return f"'{path}' cannot be read ({error.strerror or error}). Make it readable, or copy it again."
    if not start:
        return f"'{path}' is empty; copy it again."
    if _NO_PREAMBLE.match(start):
        return f"'{path}' seems to be DICOM without its preamble; convert it with dcm2niix and give the NIfTI file."
    return f"'{path}' is not a NIfTI file; convert it to .nii or .nii.gz first."


def unoriented_line(header: nib.Nifti1Header | None, name: str) -> str:
    """What is said of a file that does not tell how it lies; empty where it does."""
    if header is None or int(header["sform_code"]) > 0 or int(header["qform_code"]) > 0:
        return ""
    return (
        f"'{name}' states no orientation; its third axis was taken as inferior-superior, its second as "
        "posterior-anterior. If they are not, set the orientation in its header."
    )


def read_voxels(image: nib.Nifti1Image, path: Path) -> NDArray[np.generic]:
    """All voxels of ``image``, which is that of ``path``.

    Raises:
        VolumeError: truncated or damaged.
    """
    try:
        stated, there = _stated_bytes(image), path.stat().st_size
    except OSError as error:  # gone since it was opened
        why = error.strerror or error
        raise VolumeError(f"'{path}' cannot be read ({why}). Put it back and run it again.") from None
    if stated > MOST_PACKED * there:
        raise VolumeError(
            f"'{path}' is truncated or damaged (its header states {stated:.3g} bytes of voxels, more than its {there} "
            "bytes can hold). Copy or convert it again."
        )
    try:
        data = np.asanyarray(image.dataobj)
        if path.name.lower().endswith(".gz"):
            # nibabel stops at the last voxel, before the checksum that tells whether all of them are right.
            with gzip.open(path) as file:
                while file.read(1 << 20):
                    pass
        return data
    except Exception as error:  # as on opening it
        raise VolumeError(
            f"'{path}' is truncated or damaged ({_first_line(error)}). Copy or convert it again."
        ) from None


def _stated_bytes(image: nib.Nifti1Image) -> float:
    """Of all voxels, as the header has it."""
    return float(np.prod([float(n) for n in image.shape])) * image.get_data_dtype().itemsize


def as_one_volume(dimensions: int) -> str:
    """What to do with an image of more or less than three dimensions."""
    if dimensions > 3:
        return "Write the volume that is meant as a file of its own, e.g. with fslroi."
    return "Put all slices into one file."


def without_trailing_ones(data: NDArray[Any]) -> NDArray[Any]:
    """(i, j, k, 1, …) as (i, j, k)."""
    while data.ndim > 3 and data.shape[-1] == 1:
        data = data[..., 0]
    return data


def raw_zooms(path: Path, image: nib.Nifti1Image) -> NDArray[np.floating]:
    """Voxel sizes as the file states them: nibabel silently makes 1 of a 0."""
    with nib.openers.ImageOpener(str(path)) as file:
        return np.asarray(type(image.header).from_fileobj(file, check=False)["pixdim"][1:4])


@contextmanager
def _quiet_nibabel() -> Iterator[None]:
    """Keep nibabel's remarks on a header off stderr: what a user must know is in our own line."""
    logger = nib.imageglobals.logger
    before = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        logger.setLevel(before)


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


def _short(path: Path) -> str:
    text = str(path)
    return text if len(text) <= 120 else f"{text[:60]}…{text[-40:]}"

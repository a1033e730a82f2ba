"""NIfTI in and out, and the axial direction of a volume, always by its affine and never by the array order."""

from __future__ import annotations

import gzip
import hashlib
import logging
import re
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from ..errors import VolumeError
from .contrasts import Contrast, guess_contrast

NIFTI_SUFFIXES = (".nii", ".nii.gz")


@dataclass
class Volume:
    """One 3-D MR volume on its own grid.

    Attributes:
        data: Intensities, shape (i, j, k), float32, any unit. A trailing singleton axis is dropped.
        affine: 4x4, voxel index to RAS millimetres.
        contrast: What the volume shows, or None if unknown.
        name: Used for layer and file names.
        path: The file it came from, if any.
        header: The NIfTI header it came with (its qform/sform codes and units are kept on writing).

    Raises:
        VolumeError: not one real, non-constant 3-D volume with a regular affine.
    """

    data: NDArray[np.float32]
    affine: NDArray[np.float64]
    contrast: Contrast | None = None
    name: str = "volume"
    path: Path | None = None
    header: nib.Nifti1Header | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        self.data = _check_data(np.asarray(self.data), self.name)
        self.affine = _check_affine(self.affine, self.name)
        if self.contrast is not None:
            self.contrast = Contrast.parse(self.contrast)

    @classmethod
    def load(cls, path: str | Path, contrast: Contrast | str | None = None) -> Volume:
        """Read a .nii or .nii.gz file; the contrast is guessed from its name when not given.

        Raises:
            VolumeError: missing, unreadable, truncated, not NIfTI, or not one 3-D volume.
        """
        path = Path(path)
        image = _open_nifti(path)
        name = re.sub(r"\.nii(\.gz)?$", "", path.name, flags=re.IGNORECASE)
        if image.get_data_dtype().names:
            raise VolumeError(f"'{name}' is RGB; expected one 3-D volume of scalar intensities.")
        data = _read_voxels(image, path)
        zooms = np.abs(_raw_zooms(path, image))[: min(3, data.ndim)]
        if not (np.isfinite(zooms) & (zooms > 0)).all():
            raise VolumeError(f"'{name}' has a voxel size of 0; repair its header before use.")
        guess = Contrast.parse(contrast) if contrast is not None else guess_contrast(name)
        return cls(np.asarray(data), image.affine, guess, name, path, image.header)

    @property
    def axial_axis(self) -> int:
        """The array axis that runs closest to inferior-superior (0, 1 or 2), by the affine."""
        return int(np.where(nib.io_orientation(self.affine)[:, 0] == 2)[0][0])

    @property
    def n_slices(self) -> int:
        """Number of axial slices."""
        return int(self.data.shape[self.axial_axis])

    @property
    def voxel_sizes(self) -> NDArray[np.float64]:
        """Voxel size along each array axis in millimetres."""
        return np.asarray(nib.affines.voxel_sizes(self.affine), dtype=np.float64)

    def digest(self) -> str:
        """Of voxels and grid, by which a volume is known again."""
        digest = hashlib.blake2b(repr(self.data.shape).encode(), digest_size=16)
        digest.update(self.affine.astype(np.float32).tobytes())  # as precise as NIfTI-1 keeps it
        digest.update(np.ascontiguousarray(self.data).data)
        return digest.hexdigest()

    def image_like(self, data: NDArray[np.generic]) -> nib.Nifti1Image:
        """A float32 NIfTI image of ``data`` on this volume's grid (extra leading sample axes go last on disk)."""
        array = np.asarray(data, dtype=np.float32)
        header = None if self.header is None else self.header.as_byteswapped(nib.volumeutils.native_code)
        # A NIfTI-1 header has no room for a NIfTI-2 affine in double precision.
        kind = nib.Nifti2Image if isinstance(header, nib.Nifti2Header) else nib.Nifti1Image
        image = kind(array, self.affine, header)
        image.set_data_dtype(np.float32)
        image.header["cal_min"], image.header["cal_max"] = 0.0, 0.0
        return image


def read_mask(path: str | Path, like: Volume) -> NDArray[np.bool_]:
    """A mask file (above 0 = inside) on the grid of ``like``; may be empty.

    Raises:
        VolumeError: unreadable, or on another grid.
    """
    mask, affine = load_mask(path)
    if not _same_grid(mask.shape, affine, like):
        raise VolumeError(f"The mask '{Path(path).name}' does not lie on the grid of '{like.name}'.")
    return mask


def load_mask(path: str | Path) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """A mask file (above 0 = inside), 3-D, may be empty, and its affine (voxel index to RAS millimetres).

    Raises:
        VolumeError: unreadable, not 3-D, or its affine is of no use.
    """
    path = Path(path)
    image = _open_nifti(path)
    data = np.nan_to_num(_read_voxels(image, path))
    data = data[..., 0] if data.ndim == 4 and data.shape[-1] == 1 else data
    if data.ndim != 3:
        raise VolumeError(f"The mask '{path.name}' is {data.ndim}-D; expected one 3-D volume.")
    return np.asarray(data > 0, dtype=bool), _check_affine(image.affine, path.name)


def read_samples(path: str | Path, like: Volume) -> NDArray[np.generic]:
    """The samples that an ensemble saved, on the grid of ``like``, shape (n, ...).

    Raises:
        VolumeError: unreadable, not 4-D, or on another grid.
    """
    image = _open_nifti(Path(path))
    if image.ndim != 4 or not _same_grid(image.shape[:3], image.affine, like):
        raise VolumeError(f"The samples '{Path(path).name}' are no 4-D volume on the grid of '{like.name}'.")
    return np.moveaxis(_read_voxels(image, Path(path)), -1, 0)


def _same_grid(shape: tuple[int, ...], affine: NDArray[np.floating], like: Volume) -> bool:
    return shape == like.data.shape and np.allclose(affine, like.affine, atol=1e-3)


def _read_voxels(image: nib.Nifti1Image, path: Path) -> NDArray[np.generic]:
    try:
        data = np.asanyarray(image.dataobj)
        if path.name.lower().endswith(".gz"):
            # nibabel stops at the last voxel, before the checksum that tells whether all of them are right.
            with gzip.open(path) as file:
                while file.read(1 << 20):
                    pass
        return data
    except (OSError, EOFError, ValueError, MemoryError, zlib.error) as error:
        raise VolumeError(
            f"'{path}' is truncated or damaged ({_first_line(error)}). Copy or convert it again."
        ) from None


def _raw_zooms(path: Path, image: nib.Nifti1Image) -> NDArray[np.floating]:
    """Voxel sizes as the file states them: nibabel silently makes 1 of a 0."""
    with nib.openers.ImageOpener(str(path)) as file:
        return np.asarray(type(image.header).from_fileobj(file, check=False)["pixdim"][1:4])


def _open_nifti(path: Path) -> nib.Nifti1Image:
    if not path.exists():
        raise VolumeError(f"'{path}' does not exist.")
    if path.is_dir():
        raise VolumeError(f"'{path}' is a folder; expected a NIfTI file (.nii or .nii.gz).")
    try:
        with _quiet_nibabel():
            image = nib.load(path)
    except (
        nib.filebasedimages.ImageFileError,
        nib.spatialimages.HeaderDataError,
        OSError,
        EOFError,
        ValueError,
        zlib.error,
    ) as error:
        if path.name.lower().endswith(NIFTI_SUFFIXES):
            raise VolumeError(f"'{path}' cannot be read as NIfTI ({_first_line(error)}).") from None
        raise VolumeError(f"'{path}' is not a NIfTI file; convert it to .nii or .nii.gz first.") from None
    if not isinstance(image, nib.Nifti1Image):
        raise VolumeError(f"'{path}' is not a NIfTI file; convert it to .nii or .nii.gz first.")
    return image


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


def _check_data(data: NDArray[np.generic], name: str) -> NDArray[np.float32]:
    if data.dtype.names or (data.ndim == 4 and data.shape[-1] in (3, 4) and data.dtype == np.uint8):
        raise VolumeError(f"'{name}' is RGB; expected one 3-D volume of scalar intensities.")
    if data.ndim == 4 and data.shape[-1] == 1:
        data = data[..., 0]
    if data.ndim != 3:
        raise VolumeError(f"'{name}' is {data.ndim}-D; expected one 3-D volume.")
    if data.size == 0:
        raise VolumeError(f"'{name}' is empty (shape {'x'.join(map(str, data.shape))}).")
    if np.iscomplexobj(data):
        raise VolumeError(f"'{name}' is complex; expected magnitudes. Save its absolute value first.")
    if data.dtype.kind not in "buif":
        raise VolumeError(f"'{name}' holds {data.dtype}, not numbers.")
    out = np.ascontiguousarray(data, dtype=np.float32)
    finite = out[np.isfinite(out)]
    if finite.size == 0:
        raise VolumeError(f"'{name}' has no finite voxel (all NaN or infinite).")
    if finite.min() == finite.max():
        raise VolumeError(f"'{name}' is constant; there is nothing to transform.")
    if finite.max() <= 0:
        raise VolumeError(f"'{name}' has no positive voxel; MR magnitudes are positive.")
    return out


def _check_affine(affine: NDArray[np.generic], name: str) -> NDArray[np.float64]:
    matrix = np.asarray(affine, dtype=np.float64)
    if matrix.shape != (4, 4) or not np.isfinite(matrix).all():
        raise VolumeError(f"'{name}' has no valid 4x4 affine.")
    sizes = np.sqrt((matrix[:3, :3] ** 2).sum(axis=0))
    if (sizes <= 0).any():
        raise VolumeError(f"'{name}' has a voxel size of 0; repair its header before use.")
    if abs(np.linalg.det(matrix[:3, :3] / sizes)) < 1e-3:
        raise VolumeError(f"'{name}' has a singular affine; repair its header before use.")
    return matrix

"""NIfTI in and out, and the axial direction of a volume, always by its affine and never by the array order."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from ..errors import VolumeError
from ..wording import plural
from .contrasts import Contrast, guess_contrast
from .field_of_view import UNITS, check_field_of_view, millimetres, stated_unit
from .grid import same_grid
from .intensity import background
from .masked import unmasked
from .nifti import as_one_volume, open_nifti, raw_zooms, read_voxels, stem, unoriented_line, without_trailing_ones

#: Fields of a NIfTI header that tell of a scan, not of its grid.
_OF_SCAN = (
    "aux_file", "cal_max", "cal_min", "data_type", "db_name", "dim_info", "extents", "glmax", "glmin", "session_error",
    "slice_code", "slice_duration", "slice_end", "slice_start", "toffset", "unused_str",
)  # fmt: skip
#: What helps where an image holds nothing that a scanner gives.
_AGAIN = "Convert it again from what the scanner gave, or give another scan."


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
        unit_mm: Millimetres of which the affine of its file counts one; 1 as a rule.
        notices: What the user should know of how it was read, a line each.

    Raises:
        VolumeError: not one real, non-constant 3-D volume with a regular affine and the size of a head.
        MrtransError: no such contrast.
    """

    data: NDArray[np.float32]
    affine: NDArray[np.float64]
    contrast: Contrast | None = None
    name: str = "volume"
    path: Path | None = None
    header: nib.Nifti1Header | None = field(default=None, repr=False)
    unit_mm: float = 1.0
    notices: tuple[str, ...] = ()
    #: To be transformed: it has the size of a head, and is not constant.
    _to_transform: ClassVar[bool] = True

    def __repr__(self) -> str:
        """In a line: ``<Volume 'sub-01_T1w', T1, 240 x 240 x 155 voxels of 1 x 1 x 1 mm>``."""
        shape, sizes = (" x ".join(of) for of in (map(str, self.data.shape), (f"{mm:.3g}" for mm in self.voxel_sizes)))
        return f"<Volume '{self.name}', {self.contrast or 'no contrast'}, {shape} voxels of {sizes} mm>"

    def __post_init__(self) -> None:
        self.data = _check_data(unmasked(self.data), self.name)
        if self._to_transform:
            _check_contrast(self.data, self.name)
        self.affine = check_affine(self.affine, self.name)
        if self._to_transform:
            check_field_of_view(self.affine, self.data.shape, self.name, stated_unit(self.header))
        if self.contrast is not None:
            self.contrast = Contrast.parse(self.contrast)

    @classmethod
    def load(cls, path: str | Path, contrast: Contrast | str | None = None) -> Volume:
        """Read a .nii or .nii.gz file; the contrast is guessed from its name when not given.

        Raises:
            VolumeError: missing, unreadable, truncated, not NIfTI, or not one 3-D volume.
            MrtransError: no such contrast.
        """
        path = Path(path)
        image = open_nifti(path)
        name = stem(path)
        if image.get_data_dtype().names:
            raise VolumeError(
                f"'{name}' is RGB; expected one 3-D volume of scalar intensities. Give the scan it was drawn of."
            )
        data = read_voxels(image, path)
        zooms = np.abs(raw_zooms(path, image))[: min(3, data.ndim)]
        if not (np.isfinite(zooms) & (zooms > 0)).all():
            raise VolumeError(f"'{name}' has a voxel size of 0; repair its header before use.")
        guess = Contrast.parse(contrast) if contrast is not None else guess_contrast(name)
        return cls.from_file(data, image.affine, image.header, contrast=guess, name=name, path=path)

    @classmethod
    def from_file(
        cls,
        data: NDArray[Any],
        affine: NDArray[np.generic],
        header: nib.Nifti1Header | None,
        *,
        contrast: Contrast | None,
        name: str,
        path: Path | None = None,
    ) -> Volume:
        """What a file holds, its affine still in the unit that its header states (:mod:`.field_of_view`).

        Raises:
            VolumeError: see the class.
        """
        data, grid, unit = without_trailing_ones(unmasked(data)), check_affine(affine, name), stated_unit(header)
        factor = millimetres(grid, data.shape, unit) if data.ndim == 3 else 1.0
        grid[:3] *= factor
        unoriented = unoriented_line(header, name)
        said: tuple[str, ...] = (unoriented,) if unoriented else ()
        if factor != UNITS.get(unit, 1.0):
            said += (f"'{name}' states its unit as {unit}, in which no head is that large; it was taken as mm.",)
        return cls(np.asarray(data), grid, contrast, name, path, header, factor, said)

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

    def image_like(self, data: NDArray[np.generic], descrip: str = "") -> nib.Nifti1Image:
        """A float32 NIfTI image of ``data`` on the grid of this volume's file (extra sample axes go last on disk).

        Of the header that is what tells of the grid; ``descrip`` (79 bytes) says what the image is.
        """
        array = np.asarray(data, dtype=np.float32)
        header = None if self.header is None else self.header.as_byteswapped(nib.volumeutils.native_code)
        # A NIfTI-1 header has no room for a NIfTI-2 affine in double precision.
        kind = nib.Nifti2Image if isinstance(header, nib.Nifti2Header) else nib.Nifti1Image
        affine = self.affine.copy()
        affine[:3] /= self.unit_mm
        image = kind(array, affine, header)
        image.set_data_dtype(np.float32)
        describe(image.header, descrip)
        return image


class AnyImage(Volume):
    """An image to compare with others, such as the part of a head around a lesion: of any size, constant or not."""

    _to_transform = False


def describe(header: nib.Nifti1Header, descrip: str) -> None:
    """Take out of a header all that tells of the scan rather than of its grid: names, remarks, timing, extensions."""
    for name in _OF_SCAN:
        if name in header:  # of one kind or of both
            header[name] = np.zeros_like(header[name])
    header["pixdim"][4:] = 1
    header.set_intent("none")
    header["descrip"] = descrip.encode("ascii", "replace")[:79]
    header.extensions.clear()


def check_volume(given: object) -> None:
    """See that a caller of Python gives a volume rather than a path or an array.

    Raises:
        VolumeError: it is no volume.
    """
    if isinstance(given, Volume):
        return
    if isinstance(given, str | Path):
        what, remedy = f"the path '{given}'", "read the file first: Volume.load(path)"
    elif isinstance(given, np.ndarray):
        what, remedy = f"an array of shape {given.shape}", "say where its voxels lie: Volume(array, affine)"
    else:
        what, remedy = type(given).__name__, "read a file: Volume.load(path)"
    raise VolumeError(f"Expected a Volume, got {what}; {remedy}.")


def not_finite(what: str, count: int) -> str:
    """``'scan' is NaN or infinite in 3 voxels of the head``."""
    return f"{what} is NaN or infinite in {plural(count, 'voxel')} of the head"


def read_samples(path: str | Path, like: Volume) -> NDArray[np.generic]:
    """The samples that an ensemble saved, on the grid of ``like``, shape (n, ...).

    Raises:
        VolumeError: unreadable, not 4-D, or on another grid.
    """
    image = open_nifti(Path(path))
    fits = image.ndim == 4
    if fits:
        affine = check_affine(image.affine, Path(path).name)
        affine[:3] *= millimetres(affine, image.shape, stated_unit(image.header))
        fits = same_grid(image.shape[:3], affine, like.data.shape, like.affine)
    if not fits:
        raise VolumeError(
            f"The samples '{Path(path).name}' are no 4-D volume on the grid of '{like.name}'. Give "
            "those that were saved with it."
        )
    return np.moveaxis(read_voxels(image, Path(path)), -1, 0)


def _check_data(data: NDArray[np.generic], name: str) -> NDArray[np.float32]:
    if data.dtype.names or (data.ndim == 4 and data.shape[-1] in (3, 4) and data.dtype == np.uint8):
        raise VolumeError(
            f"'{name}' is RGB; expected one 3-D volume of scalar intensities. Give the scan it was drawn of."
        )
    data = without_trailing_ones(data)
    if data.ndim != 3:
        raise VolumeError(f"'{name}' is {data.ndim}-D; expected one 3-D volume. {as_one_volume(data.ndim)}")
    if data.size == 0:
        raise VolumeError(f"'{name}' is empty (shape {'x'.join(map(str, data.shape))}). {_AGAIN}")
    if np.iscomplexobj(data):
        raise VolumeError(f"'{name}' is complex; expected magnitudes. Save its absolute value first.")
    if data.dtype.kind not in "buif":
        raise VolumeError(f"'{name}' holds {data.dtype}, not numbers. {_AGAIN}")
    out = np.ascontiguousarray(data, dtype=np.float32)
    if not np.isfinite(out).any():
        raise VolumeError(f"'{name}' has no finite voxel (all NaN or infinite). {_AGAIN}")
    return out


def _check_contrast(data: NDArray[np.float32], name: str) -> None:
    finite = data[np.isfinite(data)]
    if finite.min() == finite.max():
        raise VolumeError(f"'{name}' is constant; there is nothing to transform. Give another scan.")
    if finite.max() <= 0 and not (background(data) or 0.0) < finite.max():
        raise VolumeError(f"'{name}' has no positive voxel; MR magnitudes are positive. {_AGAIN}")


def check_affine(affine: NDArray[np.generic], name: str) -> NDArray[np.float64]:
    """A copy of a regular 4x4.

    Raises:
        VolumeError: it is not finite, or no voxel has a volume.
    """
    matrix = np.array(affine, dtype=np.float64)
    if matrix.shape != (4, 4) or not np.isfinite(matrix).all():
        raise VolumeError(f"'{name}' has no valid 4x4 affine; repair its header before use.")
    sizes = np.sqrt((matrix[:3, :3] ** 2).sum(axis=0))
    if (sizes <= 0).any():
        raise VolumeError(f"'{name}' has a voxel size of 0; repair its header before use.")
    if abs(np.linalg.det(matrix[:3, :3] / sizes)) < 1e-3:
        raise VolumeError(f"'{name}' has a singular affine; repair its header before use.")
    return matrix

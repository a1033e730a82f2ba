"""One scan from whatever the user gave: a NIfTI file, a folder of DICOM slices, or one of these slices."""

from __future__ import annotations

from pathlib import Path

from ..errors import VolumeError
from ..scan.contrasts import BIDS_SUFFIX, Contrast, guess_contrast
from ..scan.grid import ras_affine
from ..scan.nifti import is_nifti_name
from ..scan.volume import Volume
from ..wording import plural
from .choose import candidates, choose, damaged, series_code, stacks_at
from .files import is_dicom, is_dicom_file
from .header import quiet, unreadable_line
from .stack import Stack


def read_scan(path: str | Path, contrast: Contrast | str | None = None, *, kind: type[Volume] = Volume) -> Volume:
    """A volume of a NIfTI file or of DICOM slices; the contrast is guessed from name or headers when not given.

    What the slices say of the patient stays with them: the volume is named after its folder, and where that holds a
    word of the patient's tags, after the number of its series; then it does not know its path either.
    A NIfTI file is read as ``kind``.

    Raises:
        VolumeError: nothing that can be used is there, or several series are.
    """
    path = Path(path)
    wanted = None if contrast is None else Contrast.parse(contrast)
    if not is_scan_of_slices(path):
        return kind.load(path, wanted)
    stack, left = choose(path, wanted)
    volume = read_stack(stack, path, wanted)
    volume.notices += (left,) if left else ()
    return volume


def is_scan_of_slices(path: Path) -> bool:
    """Whether ``path`` is to be read as DICOM: a folder, or a file that starts as such files do."""
    return path.is_dir() or (not is_nifti_name(path.name) and is_dicom_file(path))


def all_slices(paths: list[Path]) -> bool:
    """Whether these are DICOM folders or files.

    Raises:
        VolumeError: some are and some are not.
    """
    told = [is_dicom(path) for path in paths]
    if any(told) and not all(told):
        raise VolumeError(f"'{paths[told.index(True)]}' is DICOM, '{paths[told.index(False)]}' is not; give one kind.")
    return all(told)


def brains_at(path: Path) -> list[Stack]:
    """What in a folder, or in the series of a file, may be a structural MR of a brain; refused is what is damaged.

    Raises:
        VolumeError: nothing is.
    """
    stacks = stacks_at(path)
    if len(stacks) == 1:
        return [choose(path, None)[0]]
    return [*candidates(stacks), *damaged(stacks)] or [choose(path, None)[0]]


def read_stack(stack: Stack, given: Path, contrast: Contrast | None = None, *, alone: bool = True) -> Volume:
    """The voxels of a stack.

    Args:
        stack: Its files.
        given: The folder or file where it was found.
        contrast: What it shows; None: what its headers tell.
        alone: No other volume of its folder is read, so that the folder's name will do.

    Raises:
        VolumeError: they cannot be read, or make no volume.
    """
    import SimpleITK as sitk

    reader = sitk.ImageSeriesReader()
    reader.SetFileNames([str(path) for path in stack.files])
    # float: the slices may have factors of their own
    reader.SetOutputPixelType(sitk.sitkFloat32)
    folder = stack.files[0].parent
    try:
        with quiet():
            image = reader.Execute()
    except (RuntimeError, MemoryError):
        image = None
    if image is None or image.GetDimension() != 3 or image.GetNumberOfComponentsPerPixel() != 1:
        raise VolumeError(unreadable_line(folder))
    shown = contrast or stack.contrast
    private = stack.header.names_patient(str(given.absolute()))
    name = _name(stack, shown, alone=alone and stack.alone)
    affine = ras_affine(image.GetDirection(), image.GetSpacing(), image.GetOrigin())
    data = sitk.GetArrayFromImage(image).T
    volume = Volume.from_file(data, affine, None, contrast=shown, name=name, path=None if private else given)
    if contrast is None and shown is not None:
        volume.notices += (f"'{name}' was taken as {shown}, by {stack.source}.",)
    if count := stack.doubtful:
        volume.notices += (
            f"'{name}' may lack slices: {plural(count, 'file')} beside it cannot be read, and nothing tells "
            "of which series. If so, copy it again.",
        )
    if private:
        volume.notices += (f"The path holds the patient's name or number; results say '{name}' instead.",)
    return volume


def scan_files(path: Path, contrast: Contrast) -> list[Path]:
    """The files that :func:`read_scan` reads.

    Raises:
        VolumeError: see there.
    """
    return list(choose(path, contrast)[0].files) if is_scan_of_slices(path) else [path]


def recorded(path: Path) -> str:
    """What results say of where a scan lies: its path, unless that tells who the patient is."""
    if is_scan_of_slices(path) and is_dicom(path):
        header = stacks_at(path)[0].header
        if header.names_patient(str(path.absolute())):
            return f"series-{series_code(header)}"
    return str(path.absolute())


def _name(stack: Stack, contrast: Contrast | None, *, alone: bool) -> str:
    """``folder``, ``series-3`` or ``folder_series-3``, with the contrast where that does not tell it."""
    folder, number = stack.files[0].parent.name, stack.header.text("0020|0011") or "1"
    if not folder or stack.header.names_patient(folder):
        base = f"series-{number}-{series_code(stack.header)}"
    else:
        base = folder if alone else f"{folder}_series-{number}"
    return base if contrast is None or guess_contrast(base) is contrast else f"{base}_{BIDS_SUFFIX[contrast]}"

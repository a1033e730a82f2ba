"""One session prepared: registered, bias-corrected, stripped, checked by eye, and written as BIDS derivatives."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import __version__
from ..datasets.derivatives import check_own, description, finished_files, ignored
from ..datasets.sessions import RawSession
from ..dicom.read import read_scan, recorded, scan_files
from ..errors import MrtransError
from ..paths import holds_something, part_of, write_together
from ..scan.contrasts import BIDS_SUFFIX, Contrast
from ..scan.intensity import clean, find_head, min_max, white_level
from ..scan.masks import read_mask
from ..scan.nifti import missing_line
from ..scan.volume import Volume
from .bias import log_bias, remove_bias
from .images import resample
from .qc import save_picture
from .register import Registration, register
from .whole_head import FORMAT, prepare_volume, shifted_line

Say = Callable[[str], None]

#: From a contrast's intensities and the brain: as the models do it themselves, so that what is prepared compares with
#: their answers; the paper's; scanner units.
NORMALISATIONS: dict[str, Callable[[NDArray[np.float32], NDArray[np.bool_], Contrast], NDArray[np.float32]]] = {
    "robust": lambda data, brain, contrast: np.minimum(data / white_level(data, brain & (data > 0), contrast), 1.0),
    "min-max": lambda data, *_: min_max(data),
    "none": lambda data, *_: data,
}


@dataclass(frozen=True)
class Options:
    """What to do with a session.

    Attributes:
        register: Find how the contrasts lie to one another; else their headers are believed.
        bias: Correct the bias field.
        strip: Keep the brain only.
        reference: The contrast whose grid all come onto; None = T1, else the one with the smallest voxels.
        tool: Brain extraction: ``auto``, ``built-in``, or one of :data:`.tools.TOOLS`.
        normalise: One of :data:`NORMALISATIONS`.
        overwrite: Also replace what other scans of the same name gave, and remove contrasts that are not given now.

    Raises:
        MrtransError: no such normalisation.
    """

    register: bool = True
    bias: bool = True
    strip: bool = True
    reference: Contrast | None = None
    tool: str = "auto"
    normalise: str = "robust"
    overwrite: bool = field(default=False, repr=False)

    def __post_init__(self) -> None:
        if self.normalise not in NORMALISATIONS:
            raise MrtransError(f"Unknown normalisation '{self.normalise}'. Choose one of {', '.join(NORMALISATIONS)}.")


def prepare_session(
    session: RawSession, output: Path, options: Options | None = None, mask: Path | None = None, say: Say = print
) -> list[Path]:
    """Prepare a session and write it below ``output``; finished work is not done again.

    The contrasts come onto the reference's own grid, whatever its spacing: the trainer and the models bring slices to
    their own spacing themselves, and resampling once is better than twice.

    Args:
        session: Its files.
        output: A BIDS derivatives folder; made if need be.
        options: What to do.
        mask: Brain mask on the reference's grid, where images are stripped; None = found.
        say: Told what is going on, one line each.

    Returns:
        The files of this session: one image for each contrast, brain mask, picture, JSON.

    Raises:
        MrtransError: a mask goes with no such options.
        MrtransError: a scan cannot be used, does not match the reference, or the folder cannot be written.
    """
    options = options or Options()
    if mask is not None and options.tool != "auto":
        raise MrtransError("With --mask no brain is looked for; leave out --brain, or the mask.")
    if mask is not None and not options.strip:
        raise MrtransError("--mask is the brain to keep; leave out --no-strip, or the mask.")
    began = time.perf_counter()
    folder, stem = output / session.folder, session.stem
    key = _key(session, options, mask)
    record = folder / f"{stem}_desc-preproc.json"
    edited = _edited_mask(record, stem)
    if edited is None and (done := finished_files(record, key)) is not None:
        say(f"{stem}: done before, nothing to do")
        return done
    check_own(output, "prepare")
    _check_free(record, session, overwrite=options.overwrite)
    if edited is not None and not options.overwrite and not (mask is not None and mask.samefile(edited)):
        raise MrtransError(f"'{edited}' was changed since it was written; give it with --mask, or --overwrite.")
    volumes = {contrast: read_scan(path, contrast) for contrast, path in session.files.items()}
    for volume in volumes.values():
        for line in volume.notices:
            say(f"{stem}: {line}")
        if line := shifted_line(volume):
            say(f"{stem}: {line}")
    chosen = _reference(volumes, options.reference, session)
    reference = volumes.pop(chosen)
    say(f"{stem}: {', '.join(session.files)} onto the grid of {chosen}")
    motions: dict[Contrast, Registration] = {}
    onto = {chosen: clean(reference.data)}
    for contrast, volume in volumes.items():
        if options.register:
            # The paper's way for IXI: the T1, with the finest voxels, is held still whatever comes onto whose grid.
            still = contrast is not Contrast.T1
            found = register(reference, volume) if still else register(volume, reference).inverse()
            motions[contrast] = found
            what = "lies best where its file has it" if found.stays else "registered"
            say(f"{stem}: {contrast} {what}, NMI {found.nmi_before:.3f} to {found.nmi_after:.3f}")
        onto[contrast] = resample(volume, reference, motions[contrast].matrix if options.register else np.eye(4))
        if not onto[contrast].any():
            raise MrtransError(
                f"{session.stem}: {contrast} and {chosen} do not overlap by their headers; leave out --no-register."
            )
    brain, method = _brain(reference, mask, options, say)
    if options.strip:
        say(f"{stem}: brain mask ({method}), {brain.sum() * np.prod(reference.voxel_sizes) / 1000.0:.0f} ml")
    images = {}
    for contrast, data in onto.items():
        if not (data[brain] > 0).any():
            raise MrtransError(f"{stem}: {contrast} shows nothing of the brain; leave it out, or give another --mask.")
        volume = replace(reference, data=data, contrast=contrast)
        if options.bias:
            volume.data = remove_bias(volume, log_bias(volume, brain & (data > 0)))
        kept = np.where(brain, volume.data, np.float32(0)) if options.strip else volume.data
        images[contrast] = NORMALISATIONS[options.normalise](kept, brain, contrast)
    info: dict[str, Any] = {
        "napari_mrtrans": __version__,
        "SimpleITK": version("SimpleITK"),
        "key": key,
        "options": asdict(options),
        "sources": {contrast: recorded(path) for contrast, path in session.files.items()},
        "reference": chosen,
        "registration": {
            contrast: {
                "to_moving_ras_mm": found.matrix.round(6).tolist(),
                "degrees": round(found.degrees, 3),
                "nmi_before": round(found.nmi_before, 4),
                "nmi_after": round(found.nmi_after, 4),
                "edges": round(found.edges, 2),
            }
            for contrast, found in motions.items()
        },
        "brain": {"method": method, "millilitres": round(float(brain.sum() * np.prod(reference.voxel_sizes)) / 1e3, 1)}
        if options.strip
        else None,
        "files": [],
        "seconds": round(time.perf_counter() - began, 1),
        "intended_use": "research only, not for diagnosis",
    }
    names: dict[str, str | Callable[[Path], object]] = {
        f"{stem}_desc-preproc_{BIDS_SUFFIX[contrast]}.nii.gz": reference.image_like(data).to_filename
        for contrast, data in images.items()
    }
    about = {"Description": "Prepared for contrast transformation", "SkullStripped": options.strip}
    side_car = json.dumps(about, indent=2) + "\n"
    names |= {f"{stem}_desc-preproc_{BIDS_SUFFIX[contrast]}.json": side_car for contrast in images}
    if options.strip:
        names[f"{stem}_desc-brain_mask.nii.gz"] = reference.image_like(brain).to_filename
    shown = {contrast: replace(reference, data=data, contrast=contrast) for contrast, data in onto.items()}
    names[f"{stem}_desc-preproc_qc.png"] = lambda path: save_picture(
        path, shown, brain if options.strip else None, stem
    )
    info["files"] = list(names)
    described = description(output, "Scans prepared for contrast transformation", "prepare")
    write_together(output, {**described, **ignored(output)})

    def write_record(path: Path) -> None:
        if options.strip:
            info["mask_sha256"] = _file_digest(part_of(_mask_file(record, stem)))
        path.write_text(json.dumps(info, indent=2) + "\n", encoding="utf-8")

    names |= {record.name: write_record}
    return write_together(folder, names, replaced=_owned(stem) - {*names})


def _mask_file(record: Path, stem: str) -> Path:
    return record.with_name(f"{stem}_desc-brain_mask.nii.gz")


def _file_digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _edited_mask(record: Path, stem: str) -> Path | None:
    """The brain mask of an earlier result, if it is another than was written, as after a correction by hand."""
    mask = _mask_file(record, stem)
    try:
        written = json.loads(record.read_text(encoding="utf-8")).get("mask_sha256")
        return mask if written and holds_something(mask) and _file_digest(mask) != written else None
    except (OSError, ValueError, AttributeError):
        return None


def _owned(stem: str) -> set[str]:
    """Names of all files but the record that a session may have: written, or removed with an earlier result."""
    of_images = {
        f"{stem}_desc-preproc_{suffix}{end}" for suffix in BIDS_SUFFIX.values() for end in (".nii.gz", ".json")
    }
    return of_images | {f"{stem}_desc-brain_mask.nii.gz", f"{stem}_desc-preproc_qc.png"}


def _check_free(record: Path, session: RawSession, *, overwrite: bool) -> None:
    """Refuse to replace what other scans gave under this name, what is not ours, and the scans themselves.

    And to remove an earlier result's image of a contrast that is not given now.
    """
    written = [record.with_name(name) for name in sorted(_owned(session.stem))]
    scans = {path.resolve() for path in session.files.values()}
    if own := [path for path in written if path.resolve() in scans]:
        raise MrtransError(f"'{own[0]}' is a scan to be prepared and would be replaced; choose another folder with -o.")
    if overwrite:
        return
    if not record.exists() and (there := [path for path in written if path.exists()]):
        raise MrtransError(f"'{there[0]}' is there already, of another program; choose another folder, or --overwrite.")
    try:
        sources = json.loads(record.read_text(encoding="utf-8"))["sources"]
        before = {str(contrast): str(path) for contrast, path in sources.items()}
    except FileNotFoundError:
        return
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        before = {"": "something else"}
    if {*before.values()}.isdisjoint(recorded(path) for path in session.files.values()):
        raise MrtransError(
            f"'{record}' was made of other scans of that name ({min(before.values(), default='none')}); choose another "
            "folder, or --overwrite."
        )
    images = {c: record.with_name(f"{session.stem}_desc-preproc_{BIDS_SUFFIX[c]}.nii.gz") for c in Contrast}
    lost = [c for c in Contrast if c in before and c not in session.files and images[c].exists()]
    if lost:
        raise MrtransError(
            f"The prepared {', '.join(lost)} of {session.stem} (of '{before[lost[0]]}') would be removed, since only "
            f"{', '.join(session.files)} are given now; give all contrasts together, or --overwrite."
        )


def _reference(volumes: dict[Contrast, Volume], wanted: Contrast | None, session: RawSession) -> Contrast:
    if wanted is not None and wanted not in volumes:
        raise MrtransError(f"{session.stem} has no {wanted} to serve as reference, only {', '.join(volumes)}.")
    if wanted is not None:
        return wanted
    return Contrast.T1 if Contrast.T1 in volumes else min(volumes, key=lambda c: volumes[c].voxel_sizes.prod())


def _brain(reference: Volume, mask: Path | None, options: Options, say: Say) -> tuple[NDArray[np.bool_], str]:
    """The brain, or, where it is not to be stripped, the head; and where the outline came from."""
    if not options.strip:
        return find_head(clean(reference.data), reference.voxel_sizes)[0], "head"
    given = None if mask is None else read_mask(mask, reference, say)
    if given is not None and not given.any():
        raise MrtransError(f"The mask '{mask}' is empty.")
    prepared = prepare_volume(reference, mask=given, bias=False, tool=options.tool)
    return prepared.mask, prepared.method


def _key(session: RawSession, options: Options, mask: Path | None) -> str:
    """Tells by content whether finished work is this work."""
    digest = hashlib.sha256(repr((FORMAT, options, [str(contrast) for contrast in session.files])).encode())
    scans = [file for contrast, path in session.files.items() for file in scan_files(path, contrast)]
    for path in [*scans, *([mask] if mask else [])]:
        try:
            digest.update(hashlib.sha256(path.read_bytes()).digest())
        except OSError as error:
            raise MrtransError(missing_line(path) or f"'{path}' cannot be read ({error.strerror}).") from None
    return digest.hexdigest()

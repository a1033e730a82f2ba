"""One session prepared: registered, bias-corrected, stripped, checked by eye, and written as BIDS derivatives."""

from __future__ import annotations

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
from ..datasets.derivatives import check_own, description, ignored
from ..datasets.sessions import RawSession
from ..dicom.read import read_scan, recorded
from ..errors import MrtransError, VolumeError
from ..paths import file_digest, part_of, write_together
from ..scan.contrasts import BIDS_SUFFIX, Contrast
from ..scan.intensity import clean, min_max, white_level
from ..scan.masks import read_mask
from ..scan.prepared import PreparedVolume
from ..scan.volume import Volume
from .bias import log_bias, remove_bias
from .earlier import (
    check_free,
    edited_mask,
    finished_session,
    mask_file,
    mask_given_before,
    owned_names,
    record_of,
    work_key,
)
from .images import resample
from .qc import save_picture
from .register import LEAST_SAME_EDGES, Registration, register
from .whole_head import brain_of, shifted_line

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
    if (done := finished_session(session, output, options, mask, say)) is not None:
        return done
    stem, record = session.stem, record_of(session, output)
    edited = edited_mask(record, stem)
    earlier = mask_given_before(record, stem, options) if mask is None and edited is None else None
    key = work_key(session, options, earlier or mask)
    check_own(output, "prepare")
    check_free(record, session, overwrite=options.overwrite)
    if edited is not None and not options.overwrite and not (mask is not None and mask.samefile(edited)):
        raise MrtransError(f"'{edited}' was changed since it was written; give it with --mask, or --overwrite.")
    if earlier is not None:
        mask = earlier
        if not options.strip or options.tool != "auto":
            raise MrtransError(f"'{mask}' was given with --mask and would be lost; leave out "
                               f"{'--brain' if options.strip else '--no-strip'}, or --overwrite.")  # fmt: skip
        say(f"{stem}: with the brain mask that was given before; --overwrite looks for the brain anew")
    volumes = {contrast: read_scan(path, contrast) for contrast, path in session.files.items()}
    for volume in volumes.values():
        for line in volume.notices:
            say(f"{stem}: {line}")
        if line := shifted_line(volume):
            say(f"{stem}: {line}")
    chosen = _reference(volumes, options.reference, session)
    reference = volumes.pop(chosen)
    say(f"{stem}: {', '.join(session.files)} onto the grid of {chosen}")
    onto, motions = _onto(reference, chosen, volumes, options, stem, say)
    try:
        brain, method = _brain(reference, mask, options, say)
    except VolumeError:
        if earlier is None:
            raise
        raise MrtransError(f"'{mask}', which was given before, does not lie on the grid of {chosen}; give a --mask on "
                           "that grid, or --overwrite to look for the brain anew.") from None  # fmt: skip
    if options.strip:
        say(f"{stem}: brain mask ({method}), {brain.sum() * np.prod(reference.voxel_sizes) / 1000.0:.0f} ml")
    images = {contrast: _finished(data, contrast, reference, brain, options, stem) for contrast, data in onto.items()}
    info: dict[str, Any] = {
        "napari_mrtrans": __version__,
        "SimpleITK": version("SimpleITK"),
        "key": key,
        "options": asdict(options),
        "sources": {contrast: recorded(path) for contrast, path in session.files.items()},
        "reference": chosen,
        "registration": {contrast: _motion(found) for contrast, found in motions.items()},
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
            info["mask_sha256"] = file_digest(part_of(mask_file(record, stem)))
        path.write_text(json.dumps(info, indent=2) + "\n", encoding="utf-8")

    names |= {record.name: write_record}
    return write_together(record.parent, names, replaced=owned_names(stem) - {*names})


def _onto(
    reference: Volume, chosen: Contrast, volumes: dict[Contrast, Volume], options: Options, stem: str, say: Say
) -> tuple[dict[Contrast, NDArray[np.float32]], dict[Contrast, Registration]]:
    """All contrasts on the grid of ``reference``, which is ``chosen``; and how they were moved, where they were.

    Raises:
        MrtransError: one does not overlap.
    """
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
            if found.edges < LEAST_SAME_EDGES:
                say(
                    f"{stem}: the edges of {contrast} agree with those of {chosen} only {found.edges:.2f} times as "
                    "well as by chance; look in the picture whether both show one head, and leave it out if not."
                )
        onto[contrast] = resample(volume, reference, motions[contrast].matrix if options.register else np.eye(4))
        if not onto[contrast].any():
            raise MrtransError(
                f"{stem}: {contrast} and {chosen} do not overlap by their headers; leave out --no-register."
            )
    return onto, motions


def _reference(volumes: dict[Contrast, Volume], wanted: Contrast | None, session: RawSession) -> Contrast:
    if wanted is not None and wanted not in volumes:
        raise MrtransError(f"{session.stem} has no {wanted} to serve as reference; choose one of {', '.join(volumes)}.")
    if wanted is not None:
        return wanted
    return Contrast.T1 if Contrast.T1 in volumes else min(volumes, key=lambda c: volumes[c].voxel_sizes.prod())


def _motion(found: Registration) -> dict[str, Any]:
    """What the record says of it."""
    return {
        "to_moving_ras_mm": found.matrix.round(6).tolist(),
        "degrees": round(found.degrees, 3),
        "nmi_before": round(found.nmi_before, 4),
        "nmi_after": round(found.nmi_after, 4),
        "edges": round(found.edges, 2),
    }


def _finished(
    data: NDArray[np.float32],
    contrast: Contrast,
    reference: Volume,
    brain: NDArray[np.bool_],
    options: Options,
    stem: str,
) -> NDArray[np.float32]:
    """An image on the grid of ``reference`` without bias field and skull, normalised.

    Raises:
        MrtransError: it is empty in the brain.
    """
    if not (data[brain] > 0).any():
        raise MrtransError(f"{stem}: {contrast} shows nothing of the brain; leave it out, or give another --mask.")
    volume = replace(reference, data=data, contrast=contrast)
    if options.bias:
        volume.data = remove_bias(volume, log_bias(volume, brain & (data > 0)))
    kept = np.where(brain, volume.data, np.float32(0)) if options.strip else volume.data
    return NORMALISATIONS[options.normalise](kept, brain, contrast)


def _brain(reference: Volume, mask: Path | None, options: Options, say: Say) -> tuple[NDArray[np.bool_], str]:
    """The brain, or, where it is not to be stripped, the head; and where the outline came from."""
    if not options.strip:
        return PreparedVolume.of(reference).head, "head"
    given = None if mask is None else read_mask(mask, reference, say)
    if given is not None and not given.any():
        raise MrtransError(f"The mask '{mask}' is empty; give another, or leave out --mask.")
    return brain_of(reference, mask=given, tool=options.tool, say=say)

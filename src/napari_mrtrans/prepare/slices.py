"""A session of DICOM series, to be prepared like one of NIfTI files."""

from __future__ import annotations

import re
from pathlib import Path

from ..datasets.sessions import RawSession
from ..dicom.choose import series_code
from ..dicom.read import brains_at
from ..dicom.stack import Stack
from ..errors import MrtransError
from ..scan.contrasts import Contrast


def session_of_slices(inputs: list[Path]) -> tuple[list[RawSession], list[str]]:
    """One session, and a line for each series whose contrast is not known.

    Args:
        inputs: Folders of DICOM series of one person and visit, or a file of each series.

    Raises:
        MrtransError: a contrast is there twice, none is known, or they are of several people.
    """
    stacks = [stack for path in inputs for stack in brains_at(path)]
    files: dict[Contrast, Stack] = {}
    notices: list[str] = []
    for stack in stacks:
        if stack.refusal or stack.contrast is None:
            notices.append(f"Series {stack.line} left out: {stack.refusal or 'its headers do not tell its contrast'}.")
        elif (other := files.setdefault(stack.contrast, stack)) is not stack:
            raise MrtransError(
                f"The series {other.line} and {stack.line} are both {stack.contrast}; give the folders, or a file, of "
                "one of each contrast."
            )
    if not files:
        raise MrtransError(f"No series in '{inputs[0]}' tells its contrast; convert them with dcm2niix and name them.")
    if len({(stack.header.text("0010|0010"), stack.header.text("0010|0020")) for stack in files.values()}) > 1:
        raise MrtransError("The series are of several people; give those of one person.")
    first = next(iter(files.values())).header
    name = re.sub(
        r"[^A-Za-z0-9]", "", inputs[0].absolute().name if inputs[0].is_dir() else inputs[0].absolute().parent.name
    )
    subject = series_code(first) if not name or first.names_patient(name) else name
    return [RawSession(f"sub-{subject}", "", {contrast: stack.files[0] for contrast, stack in files.items()})], notices

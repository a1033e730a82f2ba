"""A session of DICOM series, to be prepared like one of NIfTI files."""

from __future__ import annotations

import re
from pathlib import Path

from ..datasets.sessions import RawSession
from ..dicom.choose import series_code
from ..dicom.header import STUDY, STUDY_DATE
from ..dicom.read import brains_at
from ..dicom.stack import Stack
from ..errors import MrtransError
from ..scan.contrasts import Contrast


def session_of_slices(inputs: list[Path]) -> tuple[list[RawSession], list[str]]:
    """One session, and a line for each series whose contrast is not known.

    Args:
        inputs: Folders of DICOM series of one person and visit, or a file of each series.

    Raises:
        MrtransError: a contrast is there twice, none is known, or they are of several people or visits.
    """
    stacks = [stack for path in inputs for stack in _meant(path)]
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
    if not files and (refused := next((stack for stack in stacks if stack.refusal), None)):
        raise MrtransError(f"Series {refused.line} {refused.refusal}.")
    if not files:
        raise MrtransError(f"No series in '{inputs[0]}' tells its contrast; convert them with dcm2niix and name them.")
    _check_one_visit([*files.values()])
    first = next(iter(files.values())).header
    name = re.sub(
        r"[^A-Za-z0-9]", "", inputs[0].absolute().name if inputs[0].is_dir() else inputs[0].absolute().parent.name
    )
    subject = series_code(first) if not name or first.names_patient(name) else name
    return [RawSession(f"sub-{subject}", "", {contrast: stack.files[0] for contrast, stack in files.items()})], notices


def _meant(path: Path) -> list[Stack]:
    """What is at ``path``; of a file, which says which echo or reconstruction is meant, no other of its contrast."""
    stacks = brains_at(path)
    own = next((stack for stack in stacks if path in stack.files), None)
    return [stack for stack in stacks if own is None or stack is own or stack.contrast is not own.contrast]


def _check_one_visit(stacks: list[Stack]) -> None:
    """See that series are of one study, or else, by name or number of the patient and by date, of one person and day.

    Raises:
        MrtransError: they are not.
    """
    first, headers = stacks[0], [stack.header for stack in stacks]
    if len({header.person for header in headers}) > 1:
        raise MrtransError("The series are of several people; give those of one person.")
    other = next((stack for stack in stacks if stack.header.text(STUDY) != first.header.text(STUDY)), None)
    days = {header.text(STUDY_DATE) for header in headers}
    if other is None or (first.header.names_person and len(days) == 1 and days != {""}):
        return
    raise MrtransError(
        f"The series {first.line} in '{first.files[0].parent}' and {other.line} in '{other.files[0].parent}' are of "
        "two studies, and nothing tells that these are of one person and day; give the series of one study. If they "
        "are, convert them with dcm2niix and give the NIfTI files."
    )

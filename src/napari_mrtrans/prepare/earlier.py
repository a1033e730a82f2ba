"""What an earlier run left of a session: whether it is the work at hand, and what must not be replaced unasked."""

from __future__ import annotations

import glob
import hashlib
import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..datasets.derivatives import finished_files
from ..datasets.sessions import RawSession
from ..dicom.read import recorded, scan_files
from ..errors import MrtransError
from ..paths import file_digest, holds_something
from ..scan.contrasts import BIDS_SUFFIX, Contrast
from ..scan.nifti import missing_line
from .tools import usable_tools
from .whole_head import FORMAT, GIVEN

if TYPE_CHECKING:
    from .pipeline import Options


def record_of(session: RawSession, output: Path) -> Path:
    """The JSON that is written after all other files of a session."""
    return output / session.folder / f"{session.stem}_desc-preproc.json"


def finished_session(
    session: RawSession, output: Path, options: Options, mask: Path | None = None, say: Callable[[str], None] = print
) -> list[Path] | None:
    """The files of a session that was prepared before as it would be now; None where it is to be prepared.

    Args:
        session: Its scans.
        output: The folder of all sessions.
        options: What is wanted.
        mask: Its brain, if given.
        say: Told that it is done.

    Raises:
        MrtransError: a scan cannot be read.
    """
    record = record_of(session, output)
    if not holds_something(record) or edited_mask(record, session.stem) is not None:  # spares reading the scans
        return None
    if mask is None and options.strip and options.tool == "auto":
        mask = mask_given_before(record, session.stem, options)
    done = finished_files(record, work_key(session, options, mask))
    if done is not None:
        say(f"{session.stem}: done before, nothing to do")
    return done


def better_tool_line(session: RawSession, output: Path) -> str:
    """What is said where a program is installed that comes before the one that found the brain; else empty."""
    try:
        info = json.loads(record_of(session, output).read_text(encoding="utf-8"))
        method, usable = info["brain"]["method"], usable_tools(Contrast.parse(info["reference"]))
    except (OSError, ValueError, LookupError, TypeError, MrtransError):
        return ""
    if method not in usable[1:]:  # the same, given, or not needed
        return ""
    better = usable[0]
    return f"its brain was found by '{method}', for '{better}' failed or was not there yet; --brain {better} tries it"


def work_key(session: RawSession, options: Options, mask: Path | None) -> str:
    """Tells by content whether finished work is this work.

    Raises:
        MrtransError: a scan or the mask cannot be read.
    """
    digest = hashlib.sha256(repr((FORMAT, options, [str(contrast) for contrast in session.files])).encode())
    scans = [file for contrast, path in session.files.items() for file in scan_files(path, contrast)]
    for path in [*scans, *([mask] if mask else [])]:
        try:
            digest.update(bytes.fromhex(file_digest(path)))
        except OSError as error:
            why = f"'{path}' cannot be read ({error.strerror or error}). Make it readable, or copy it again."
            raise MrtransError(missing_line(path) or why) from None
    return digest.hexdigest()


def mask_file(record: Path, stem: str) -> Path:
    """Where the brain mask of a session goes."""
    return record.with_name(f"{stem}_desc-brain_mask.nii.gz")


def _told(record: Path) -> Any:
    """What a record says; where there is none, for a run was killed while its files came into place, what it was to
    say, which lies beside them.

    Raises:
        OSError: it cannot be read.
        ValueError: it is no JSON.
    """
    for part in () if record.exists() else record.parent.glob(f".part-*-{glob.escape(record.name)}"):
        with suppress(OSError, ValueError):  # written in part: no file has come into place then
            return json.loads(part.read_text(encoding="utf-8"))
    return json.loads(record.read_text(encoding="utf-8"))


def edited_mask(record: Path, stem: str) -> Path | None:
    """The brain mask of an earlier result, if it is another than was written, as after a correction by hand."""
    mask = mask_file(record, stem)
    try:
        written = _told(record).get("mask_sha256")
        return mask if written and holds_something(mask) and file_digest(mask) != written else None
    except (OSError, ValueError, AttributeError):
        return None


def mask_given_before(record: Path, stem: str, options: Options) -> Path | None:
    """The brain mask of an earlier result, if it was given and not found: a correction by hand, for instance."""
    mask = mask_file(record, stem)
    try:
        given = _told(record)["brain"]["method"] == GIVEN
    except (OSError, ValueError, LookupError, TypeError):
        return None
    return mask if given and not options.overwrite and holds_something(mask) else None


def owned_names(stem: str) -> set[str]:
    """Names of all files but the record that a session may have: written, or removed with an earlier result."""
    of_images = {
        f"{stem}_desc-preproc_{suffix}{end}" for suffix in BIDS_SUFFIX.values() for end in (".nii.gz", ".json")
    }
    return of_images | {f"{stem}_desc-brain_mask.nii.gz", f"{stem}_desc-preproc_qc.png"}


def check_free(record: Path, session: RawSession, *, overwrite: bool) -> None:
    """Refuse to replace what other scans gave under this name, what is not ours, and the scans themselves.

    And to remove an earlier result's image of a contrast that is not given now.
    """
    written = [record.with_name(name) for name in sorted(owned_names(session.stem))]
    scans = {path.resolve() for path in session.files.values()}
    if own := [path for path in written if path.resolve() in scans]:
        raise MrtransError(f"'{own[0]}' is a scan to be prepared and would be replaced; choose another folder with -o.")
    if overwrite:
        return
    try:
        before = {str(contrast): str(path) for contrast, path in _told(record)["sources"].items()}
    except FileNotFoundError:
        if there := [path for path in written if path.exists()]:
            raise MrtransError(
                f"'{there[0]}' is there already, of another program; choose another folder, or --overwrite."
            ) from None
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

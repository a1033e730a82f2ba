"""A BIDS derivative: what it says of itself, and whether a result in it is that of the work at hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from .. import __version__
from ..errors import MrtransError
from ..paths import holds_something

PROGRAM = "napari-mrtrans"
DESCRIPTION = "dataset_description.json"
#: What BIDS has no name for, which its validator passes by: tables, pages, pictures, our own records, and spreads and
#: samples, of which the JSON of the mean tells.
IGNORED = (
    "cohort_*",
    "**/figures",
    "*_qc.png",
    "*_report.html",
    "*_desc-preproc.json",
    "*Std_*",
    "*StdCalibrated_*",
    "*Samples_*",
)


def description(out: Path, name: str, command: str) -> dict[str, str]:
    """``dataset_description.json`` of what ``napari-mrtrans COMMAND`` makes in ``out``, a folder of :func:`check_own`.

    What it says besides, such as authors and licence, stays; nothing, where nothing would change.
    """
    there = _read(out / DESCRIPTION) or {}
    ours = {"Name": PROGRAM, "Version": __version__, "Description": f"{PROGRAM} {command}"}
    makers = [maker | ours if _is_ours(maker, command) else maker for maker in there.get("GeneratedBy") or [ours]]
    document = {"Name": name, "BIDSVersion": "1.9.0", "DatasetType": "derivative", **there, "GeneratedBy": makers}
    return {} if document == there else {DESCRIPTION: json.dumps(document, indent=2, ensure_ascii=False) + "\n"}


def ignored(out: Path) -> dict[str, str]:
    """``.bidsignore`` with :data:`IGNORED`, after the lines that are in that of ``out``; nothing, if they all are."""
    path = out / ".bidsignore"
    # of any encoding: write_together gives back what it could not read
    there = path.read_text(encoding="utf-8", errors="surrogateescape").splitlines() if path.is_file() else []
    lines = [*there, *(line for line in IGNORED if line not in there)]
    return {} if lines == there else {path.name: "".join(f"{line}\n" for line in lines)}


def check_own(out: Path, command: str) -> None:
    """See that a folder holds nothing, or what earlier runs of ``napari-mrtrans COMMAND`` made.

    Raises:
        MrtransError: it holds another data set, or what it holds cannot be read.
    """
    try:
        there = _read(out / DESCRIPTION)
        makers = [] if there is None else there.get("GeneratedBy")
        ours = there is None or (isinstance(makers, list) and any(_is_ours(maker, command) for maker in makers))
    except OSError as error:
        why = error.strerror or error
        raise MrtransError(
            f"'{out / DESCRIPTION}' cannot be read ({why}). Make it readable, or choose another folder with -o."
        ) from None
    except ValueError:
        ours = False
    if not ours:
        raise MrtransError(f"'{out}' holds another data set; choose another folder with -o.")


def _is_ours(maker: Any, command: str) -> bool:
    """Whether an entry of ``GeneratedBy`` is of ``napari-mrtrans COMMAND``."""
    told = (maker.get("Name"), maker.get("Description")) if isinstance(maker, dict) else ()
    return told == (PROGRAM, f"{PROGRAM} {command}")


def _read(path: Path) -> dict[str, Any] | None:
    """A JSON object; None where there is no file.

    Raises:
        OSError: it cannot be read.
        ValueError: it is no JSON, or no object.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        return None
    if not isinstance(found, dict):
        raise ValueError("not an object")
    return found


def finished_files(record: Path, key: str) -> list[Path] | None:
    """The files of a finished result, its ``record`` last; None unless it is of the work ``key`` and complete.

    Args:
        record: The JSON that is written after all others, with the ``key`` of the work and the names of its ``files``.
        key: Digest of all that the result depends on.
    """
    try:
        info = _read(record) or {}
        files = [*(record.with_name(name) for name in info.get("files", [])), record]
    except (OSError, ValueError, TypeError):
        return None
    return files if info.get("key") == key and all(map(holds_something, files)) else None

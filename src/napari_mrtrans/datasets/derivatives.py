"""A BIDS derivative: what it says of itself, and whether a result in it is that of the work at hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from .. import __version__
from ..errors import MrtransError

DESCRIPTION = "dataset_description.json"
#: What BIDS has no name for, which its validator passes by: tables, pages, pictures, our own records, and spreads and
#: samples, of which the JSON of the mean tells.
IGNORED = ("cohort_*", "**/figures", "*_qc.png", "*_desc-preproc.json", "*Std_*", "*StdCalibrated_*", "*Samples_*")


def description(name: str, command: str) -> str:
    """``dataset_description.json`` of what ``napari-mrtrans COMMAND`` makes."""
    document = {
        "Name": name,
        "BIDSVersion": "1.9.0",
        "DatasetType": "derivative",
        "GeneratedBy": [{"Name": "napari-mrtrans", "Version": __version__, "Description": f"napari-mrtrans {command}"}],
    }
    return json.dumps(document, indent=2) + "\n"


def ignored(out: Path) -> dict[str, str]:
    """``.bidsignore`` with :data:`IGNORED`, after the lines that are in that of ``out`` already."""
    path = out / ".bidsignore"
    there = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    return {path.name: "".join(f"{line}\n" for line in dict.fromkeys((*there, *IGNORED)))}


def check_own(out: Path, command: str) -> None:
    """See that a folder holds nothing, or what earlier runs of ``napari-mrtrans COMMAND`` made.

    Raises:
        MrtransError: it holds another data set.
    """
    try:
        makers = json.loads((out / DESCRIPTION).read_text(encoding="utf-8")).get("GeneratedBy") or [{}]
        ours = command in str(makers[0].get("Description", ""))
    except FileNotFoundError:
        return
    except (OSError, ValueError, AttributeError, LookupError, TypeError):
        ours = False
    if not ours:
        raise MrtransError(f"'{out}' holds another data set; choose another folder with -o.")


def finished_files(record: Path, key: str) -> list[Path] | None:
    """The files of a finished result, its ``record`` last; None unless it is of the work ``key`` and complete.

    Args:
        record: The JSON that is written after all others, with the ``key`` of the work and the names of its ``files``.
        key: Digest of all that the result depends on.
    """
    try:
        info: dict[str, Any] = json.loads(record.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    files = [*(record.with_name(name) for name in info.get("files", [])), record]
    return files if info.get("key") == key and all(path.is_file() for path in files) else None

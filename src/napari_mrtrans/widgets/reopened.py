"""Results that were saved and are opened again: the report beside them, or else their header, says what they are."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Container, Mapping
from pathlib import Path
from typing import Any
from weakref import ReferenceType, ref

import nibabel as nib
from napari.layers import Layer

from ..scan.contrasts import Contrast
from ..scan.nifti import is_nifti_name
from ..scan.nifti import stem as nifti_stem

#: The end of a file's name, without ``.nii.gz``: ours, and those of BIDS derivatives.
_OURS = re.compile(r"(?P<stem>.+)_(?P<kind>mean|std-calibrated|std|samples)$")
_BIDS = re.compile(r"(?P<start>.+[_-]desc-\w*[Ss]ynthetic)(?P<kind>StdCalibrated|Std|Samples|)_(?P<suffix>\w+)$")
_KINDS = {"std-calibrated": "std", "": "mean"}
_HEADER = re.compile(rb"synthetic (?P<target>\w+)(?: (?!from )(?P<kind>[\w-]+))?(?: from (?P<source>\w+))?")
#: Of a report, what a layer's record holds as well.
_SAME = ("checkpoint", "sha256", "model", "source", "target", "seed", "n", "units", "sampler", "steps")


def reopened_record(layer: Layer) -> dict[str, Any]:
    """What a layer of a saved result would have said of itself when it was made; empty for other layers."""
    path = Path(layer.source.path) if layer.source.path else None
    if path is None:
        return {}
    name = nifti_stem(path)
    report, kind = _report(path.parent, name)
    if not report:
        return _by_header(layer)
    record = {key: report[key] for key in _SAME if report.get(key) is not None}
    of = {"input": _input(report), "input_file": str(report["input"]), "report": report["report"], "run": report["run"]}
    roi = report.get("roi")
    only = {"roi_only": True} if isinstance(roi, dict) and roi.get("only") else {}
    return {**record, **of, **only, **_kind(kind), "reopened": True}


def _input(report: Mapping[str, Any]) -> str:
    """What a result's input is called: as its file, or of a folder of DICOM, which may hold several, as the report."""
    given = Path(str(report["input"]))
    name, own = Path(report["report"]).stem, f"_{report['target']}"
    of_folder = given.is_absolute() and not is_nifti_name(given.name)
    return name.removesuffix(own) if of_folder and name.endswith(own) else nifti_stem(given)


def is_corrected(record: Mapping[str, Any]) -> bool:
    """Whether a layer with this record shows the corrected standard deviation."""
    return (record.get("kind"), record.get("std")) == ("std", "calibrated")


def _kind(name: str) -> dict[str, str]:
    """What a record says of the part of a result that is called so in files."""
    kind = _KINDS.get(name, name)
    return {"kind": kind} | ({"std": "calibrated" if name != kind else "population"} if kind == "std" else {})


#: The image that each run of this session was made of, and its file, by the run.
_sources: dict[str, tuple[ReferenceType[Layer], str | None]] = {}


def remember_source(run: str, layer: Layer) -> None:
    """A run that was not saved is of this very layer, or once that is gone of its file opened again."""
    _sources[run] = ref(layer), layer.source.path


def made_of(record: Mapping[str, Any], layer: Layer, name: str, among: Container[Layer] = ()) -> bool:
    """Whether a result with this record was made of a layer of this name: not where both are files that differ, and of
    a run of this session only if it is that very layer, or, if that is not ``among`` the open ones any more, its file
    opened again: of one folder of DICOM there may be several layers."""
    if known := _sources.get(str(record.get("run"))):
        source, file = known[0](), known[1]
        if layer is source or (source is not None and source in among):
            return layer is source
        return file is not None and layer.source.path == file and name == record.get("input")
    there, path = Path(record.get("input_file", "")), layer.source.path
    if name != record.get("input") or not path or not there.is_absolute():
        return name == record.get("input")
    # Path.exists would raise where others may not look
    return not os.path.exists(there) or Path(path).resolve() == there.resolve()  # noqa: PTH110


def _report(folder: Path, name: str) -> tuple[dict[str, Any], str]:
    """The report of the result that a file of that name belongs to, and which part of it the file is."""
    if found := _OURS.fullmatch(name):
        file, kind = folder / f"{found['stem']}.json", found["kind"]
    elif found := _BIDS.fullmatch(name):
        kind = {"StdCalibrated": "std-calibrated"}.get(found["kind"], found["kind"].lower())
        file = folder / f"{found['start']}_{found['suffix']}.json"
    else:
        return {}, ""
    try:
        text = file.read_text(encoding="utf-8")
        report = json.loads(text)
        Contrast.parse(report["target"])
        known = isinstance(report["checkpoint"], str) and isinstance(report["input"], str)
    except (OSError, ValueError, LookupError, TypeError):
        return {}, ""
    own = {"report": str(file.absolute()), "run": _run(file, text)}
    return ({**report, **own}, kind) if known else ({}, "")


def _run(file: Path, text: str) -> str:
    """What tells the result of a report from another that is saved in its place while its layers are open."""
    return f"{file.absolute()}#{hashlib.sha256(text.encode()).hexdigest()[:12]}"


def is_still(record: Mapping[str, Any]) -> bool:
    """Whether the report on disk is that which a layer's record was read from."""
    file = Path(record["report"])
    try:
        return bool(record["run"] == _run(file, file.read_text(encoding="utf-8")))
    except OSError:
        return False


def _by_header(layer: Layer) -> dict[str, Any]:
    header = layer.metadata.get("header")
    text = header["descrip"].item() if isinstance(header, nib.Nifti1Header) else b""
    found = _HEADER.match(text)
    if found is None:
        return {}
    target, kind = found["target"].decode(), (found["kind"] or b"").decode()
    if target not in list(Contrast):
        return {}
    return {"target": target, **_kind(kind), "reopened": True}

from __future__ import annotations

import json
from pathlib import Path

import pytest

from napari_mrtrans import __version__
from napari_mrtrans.datasets.derivatives import DESCRIPTION, IGNORED, check_own, description, ignored
from napari_mrtrans.errors import MrtransError

OURS = {"Name": "napari-mrtrans", "Version": __version__, "Description": "napari-mrtrans prepare"}


def write(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")


def test_what_we_wrote_is_ours_and_not_written_again(tmp_path: Path) -> None:
    check_own(tmp_path, "prepare")
    first = description(tmp_path, "Scans", "prepare") | ignored(tmp_path)
    assert [*first] == [DESCRIPTION, ".bidsignore"]
    write(tmp_path, first)
    check_own(tmp_path, "prepare")
    assert description(tmp_path, "Scans", "prepare") | ignored(tmp_path) == {}
    with pytest.raises(MrtransError, match="holds another data set"):
        check_own(tmp_path, "cohort")


def test_what_a_user_adds_stays_when_our_part_changes(tmp_path: Path) -> None:
    there = json.loads(description(tmp_path, "Scans", "prepare")[DESCRIPTION])
    there |= {"Authors": ["Süß"], "License": "CC0", "Name": "Our study"}
    there["GeneratedBy"] = [{"Name": "dcm2niix"}, OURS | {"Version": "0.0.1", "Container": "here"}]
    write(tmp_path, {DESCRIPTION: json.dumps(there), ".bidsignore": f"extra/\n{IGNORED[1]}\n"})
    check_own(tmp_path, "prepare")
    found = json.loads(description(tmp_path, "Scans", "prepare")[DESCRIPTION])
    assert found == there | {"GeneratedBy": [{"Name": "dcm2niix"}, OURS | {"Container": "here"}]}
    assert ignored(tmp_path)[".bidsignore"].splitlines()[:2] == ["extra/", IGNORED[1]]


@pytest.mark.parametrize(
    "document",
    [
        {"Name": "x", "GeneratedBy": [{"Name": "sMRIPrep", "Description": "used to prepare anatomical scans"}]},
        {"Name": "x", "GeneratedBy": [{"Name": "sMRIPrep", "Description": "napari-mrtrans prepare"}]},
        {"Name": "x", "GeneratedBy": [OURS | {"Description": "napari-mrtrans cohort"}]},
        {"Name": "x", "GeneratedBy": {"Name": "napari-mrtrans"}},
        {"Name": "x", "GeneratedBy": ["napari-mrtrans prepare"]},
        {},
        [],
        "prepare",
    ],
    ids=str,
)
def test_what_is_not_ours(document: object, tmp_path: Path) -> None:
    write(tmp_path, {DESCRIPTION: json.dumps(document)})
    with pytest.raises(MrtransError, match="holds another data set; choose another folder with -o"):
        check_own(tmp_path, "prepare")

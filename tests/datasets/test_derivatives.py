from __future__ import annotations

import json
from pathlib import Path

import pytest

from napari_mrtrans import __version__
from napari_mrtrans.datasets.derivatives import (
    DESCRIPTION,
    IGNORED,
    check_own,
    description,
    finished_files,
    ignored,
)
from napari_mrtrans.errors import MrtransError
from napari_mrtrans.paths import write_together

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


def test_what_an_editor_made_of_our_files(tmp_path: Path) -> None:
    """A byte order mark before the description, and a list in another encoding, whose lines stay as they are."""
    told = description(tmp_path, "Scans", "prepare")[DESCRIPTION]
    (tmp_path / DESCRIPTION).write_text(told, encoding="utf-8-sig")
    check_own(tmp_path, "prepare")
    assert description(tmp_path, "Scans", "prepare") == {}
    line = "S\u00fc\u00df/".encode("latin-1")
    (tmp_path / ".bidsignore").write_bytes(line)
    write_together(tmp_path, ignored(tmp_path))
    assert (tmp_path / ".bidsignore").read_bytes().splitlines() == [line, *(text.encode() for text in IGNORED)]


@pytest.mark.parametrize("document", ["[]", "3", "null", '{"key": "k", "files": [1]}', '{"key": "k", "files": null}'])
def test_a_record_that_is_none_is_of_nothing_finished(document: str, tmp_path: Path) -> None:
    record = tmp_path / "record.json"
    record.write_text(document)
    assert finished_files(record, "k") is None
    record.write_text('{"key": "k", "files": ["record.json"]}')
    assert finished_files(record, "k") == [record, record]


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


def test_what_cannot_be_read_is_not_called_another_data_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, description(tmp_path, "Scans", "prepare"))

    def refuse(path: Path, **_: object) -> str:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "read_text", refuse)
    with pytest.raises(
        MrtransError, match=rf"'.*{DESCRIPTION}' cannot be read \(Permission denied\). Make it readable"
    ):
        check_own(tmp_path, "prepare")

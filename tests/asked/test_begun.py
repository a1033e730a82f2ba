"""Adaptations that a window began: found again, gone on with, dropped."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from filelock import FileLock

from napari_mrtrans.asked import begun
from napari_mrtrans.asked.begun import Begun, drop, free_folder, has_learned, is_done, tidy, unfinished
from napari_mrtrans.asked.place import PREPARED, WORK, clear
from napari_mrtrans.errors import MrtransError


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where a window's adaptations go."""
    monkeypatch.setattr(begun, "adaptation_dir", lambda: tmp_path / "home")
    return tmp_path / "home"


def wanted(tmp_path: Path, site: str = "lab") -> Begun:
    return Begun(tmp_path / "data", "t1-t2-flair-flow", "flow", 10.0, site, ("T1->T2",), "cpu")


def test_what_was_begun_is_found_with_all_that_was_asked(home: Path, tmp_path: Path) -> None:
    assert unfinished() == []
    first = wanted(tmp_path).written()
    assert first.folder == home / "lab-flow"
    second = wanted(tmp_path, "other").written()
    assert unfinished() == [second, first]  # the newest first
    words = first.words()
    assert words[words.index("-o") + 1] == str(home / "lab-flow") and words[-2:] == ["--pairs", "T1->T2"]
    # A folder that something lies in is never taken for another adaptation.
    assert free_folder("lab-flow") == home / "lab-flow-2"
    (home / "other-flow" / "asked.json").write_text("no document")
    assert unfinished() == [first]


def test_what_it_learned_stays_where_it_cannot_be_gone_on_with(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = wanted(tmp_path).written()
    learned = one.folder / WORK / "best.safetensors"
    learned.parent.mkdir()
    learned.write_bytes(b"weights")

    def full(*_: object) -> None:
        raise MrtransError("No space left on device")

    monkeypatch.setattr(begun, "write_together", full)
    with pytest.raises(MrtransError):
        one.written()
    assert learned.read_bytes() == b"weights" and unfinished() == [one]
    with pytest.raises(MrtransError):
        wanted(tmp_path, "other").written()
    assert not (home / "other-flow").exists()


def test_one_at_work_is_not_offered_and_cannot_be_dropped(home: Path, tmp_path: Path) -> None:
    one = wanted(tmp_path).written()
    with FileLock(str(one.folder / ".adapt.lock")):
        assert unfinished() == []
        with pytest.raises(MrtransError, match="Another adaptation is at work in"):
            drop(one.folder)
    assert unfinished() == [one]
    drop(one.folder)
    assert not one.folder.exists() and unfinished() == []


def test_a_finished_one_keeps_its_result_and_no_scan(home: Path, tmp_path: Path) -> None:
    folder = wanted(tmp_path).written().folder
    for part in ("scans", "prepared"):
        (folder / part / "sub-01").mkdir(parents=True)
    assert not is_done(folder)
    (folder / "adaptation.json").write_text("[]")
    assert not is_done(folder)
    (folder / "adaptation.json").write_text(json.dumps({"key": "x", "done": True}))
    assert is_done(folder)
    tidy(folder)
    assert {path.name for path in folder.iterdir()} == {"adaptation.json"} and unfinished() == []


def test_what_was_prepared_is_worth_going_on_with_and_stays_with_the_result(tmp_path: Path) -> None:
    (tmp_path / "work" / "training").mkdir(parents=True)
    (tmp_path / "work" / "training" / "best.safetensors").write_text("somebody else's")
    assert not has_learned(tmp_path)
    (tmp_path / WORK / PREPARED / "sub-01").mkdir(parents=True)
    assert has_learned(tmp_path)
    clear(tmp_path)
    assert not has_learned(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [PREPARED, "work"]
    (tmp_path / WORK / PREPARED / "sub-02").mkdir(parents=True)
    clear(tmp_path)
    assert [path.name for path in (tmp_path / PREPARED).iterdir()] == ["sub-01"] and not (tmp_path / WORK).exists()


def test_a_folder_that_cannot_be_written_is_one_line(home: Path, tmp_path: Path) -> None:
    home.write_text("a file where the folder should be")
    with pytest.raises(
        MrtransError, match=r"Cannot write to '.*lab-flow' \(.*\)\. Make room or mend its permissions\."
    ) as caught:
        wanted(tmp_path).written()
    assert "\n" not in str(caught.value)

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from napari_mrtrans.training.finished import Finished


@dataclass
class Row:
    value: int


def test_what_is_kept_is_found_again_beside_a_line_that_a_kill_cut_short(tmp_path: Path) -> None:
    path = tmp_path / "out" / "finished.jsonl"
    Finished(path, Row).row({"who": "one"}, lambda: Row(1))
    with path.open("a") as file:
        file.write('\n{"key": "0a1b", "ro')
    Finished(path, Row).row({"who": "two"}, lambda: Row(2))
    again = Finished(path, Row)
    assert [again.row({"who": who}, lambda: Row(0)).value for who in ("one", "two")] == [1, 2]


def test_two_runs_that_begin_at_once_keep_both_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "finished.jsonl"
    opened = Path.open

    def meanwhile(this: Path, *arguments: Any, **options: Any) -> Any:
        file = opened(this, *arguments, **options)
        monkeypatch.setattr(Path, "open", opened)
        Finished(path, Row).row({"who": "other"}, lambda: Row(2))
        return file

    one = Finished(path, Row)
    monkeypatch.setattr(Path, "open", meanwhile)
    one.row({"who": "one"}, lambda: Row(1))
    assert {row.value for row in Finished(path, Row).rows.values()} == {1, 2}

"""``napari-mrtrans-train adapt`` and ``phantom-site`` from the command line."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from helpers import tiny_checkpoint
from napari_mrtrans.adaptation import work
from napari_mrtrans.checkpoints.card import Grid
from napari_mrtrans.cli import train as cli
from napari_mrtrans.datasets.phantom import Phantom
from napari_mrtrans.datasets.phantom_options import PhantomOptions
from napari_mrtrans.datasets.readers import read_folder
from napari_mrtrans.scan.contrasts import Contrast


def run(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], *words: object) -> tuple[int, str, str]:
    monkeypatch.setattr(sys, "argv", ["napari-mrtrans-train", *map(str, words)])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    out, err = capfd.readouterr()
    return int(ended.value.code or 0), out, err


def test_a_phantom_site_is_adapted_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("NAPARI_MRTRANS_CHECKPOINTS", str(tmp_path / "user"))
    monkeypatch.setattr(work, "MOST_JUDGED", 2)
    status, out, _ = run(
        monkeypatch, capfd, "phantom-site", "-o", tmp_path / "site", "--people", 1, "--resolution-mm", 4
    )
    assert status == 0 and out.count("1 person") == 2
    (session,) = read_folder(tmp_path / "site" / "scanner-b").sessions
    assert set(session.contrasts) == set(Contrast)
    parent = tiny_checkpoint(tmp_path / "old.safetensors", "direct", grid=Grid(spacing_mm=4.0))
    words = ("adapt", "--data", tmp_path / "site" / "scanner-a", "--model", parent.path, "--minutes", 0.005)
    words = (*words, "--pairs", "T1->T2,T2->T1", "--name", "Phantoms", "--keep", "--json", "-o", tmp_path / "out")
    status, out, err = run(monkeypatch, capfd, *words)
    assert (status, err) == (0, "")
    lines = [json.loads(line) for line in out.splitlines()]
    assert any("preview" in line for line in lines)
    assert lines[-1]["installed"] and lines[-1]["path"] == str(tmp_path / "user" / "Phantoms-direct.safetensors")
    assert [line["pair"] for line in lines[-1]["table"]] == ["T1->T2", "T2->T1"]
    # As a user sees it, a second time.
    status, out, _ = run(monkeypatch, capfd, *(word for word in words if word != "--json"))
    assert status == 0 and "nothing to do" in out and "installed as" in out


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (("--pairs", "T1->T1"), "Source and target of 'T1->T1' are the same contrast."),
        (("--minutes", "0"), "Minutes must be more than 0; got 0."),
        ((), "' does not exist; give the right one with --data."),
    ],
)
def test_a_mistake_is_one_line(
    words: tuple[str, ...],
    line: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    absent = ("adapt", "--data", tmp_path / "absent", "-o", tmp_path / "out", "--model", "direct", *words)
    status, out, err = run(monkeypatch, capfd, *absent)
    assert (status, out) == (2, "")
    assert err.endswith(line + "\n") and err.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_people_of_one_scanner_look_alike() -> None:
    options = PhantomOptions(lesions=0.0, tumours=0.0, resolution_mm=8)

    def contrast(index: int, scanner: int) -> float:
        """Of the spread of T1 intensities about their median."""
        image = Phantom(0, index, options, scanner=scanner).load()[0][Contrast.T1].data
        brain = image[image > 0]
        return float(brain.std() / brain.mean())

    first, second, other = contrast(0, 0), contrast(1, 0), contrast(1, 1)
    assert abs(first - second) < abs(other - second)
    assert Phantom(0, 0, options).stamp() != Phantom(0, 0, options, scanner=1).stamp()

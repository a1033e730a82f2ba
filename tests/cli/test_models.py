from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from helpers import tiny_checkpoint
from napari_mrtrans.checkpoints import library
from napari_mrtrans.checkpoints.calibration import Calibration
from napari_mrtrans.checkpoints.card import Adapted
from napari_mrtrans.checkpoints.checkpoint import read_checkpoint, write_calibration
from napari_mrtrans.cli import main as cli

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Run:
    """``napari-mrtrans models`` with these words, nothing shipped: exit status, stdout, stderr."""
    monkeypatch.setattr(library, "shipped_checkpoint_dir", lambda: tmp_path / "shipped")
    monkeypatch.setenv("NAPARI_MRTRANS_CHECKPOINTS", str(tmp_path / "user"))

    def run(*words: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["napari-mrtrans", "models", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        out, err = capfd.readouterr()
        return int(ended.value.code or 0), out, err

    return run


def test_install_list_remove(run: Run, tmp_path: Path) -> None:
    checkpoint = tiny_checkpoint(tmp_path / "made.safetensors", name="tiny-flow")
    place = tmp_path / "user" / "tiny-flow.safetensors"
    installed = run("--install", checkpoint.path, "--sha256", checkpoint.sha256)
    assert installed == (0, f"installed tiny-flow as {place}\n", "")
    assert run()[1].startswith("tiny-flow  (flow, ")
    write_calibration(checkpoint, Calibration(card=checkpoint.card_digest), tmp_path)
    brought = f"'tiny-flow' is installed already; brought its calibration to '{place.parent}'.\n"
    assert run("--install", checkpoint.path) == (0, brought, "")
    calibration = place.with_suffix(".calibration.json")
    assert run("--remove", "tiny-flow") == (0, f"deleted {calibration}\ndeleted {place}\n", "")
    assert run()[1].startswith("No checkpoints installed")


def test_an_adapted_one_tells_its_parent_and_is_passed_on_with_its_calibration(run: Run, tmp_path: Path) -> None:
    adapted = Adapted(
        parent="lab-flow", parent_sha256="0" * 64, lineage=["old-flow", "lab-flow"], site="Lab", people=2, sessions=3,
        minutes=9.5, gain_db=0.8, judged_on="slices kept out",
    )  # fmt: skip
    made = tiny_checkpoint(tmp_path / "made.safetensors", name="more-flow", adapted=adapted)
    write_calibration(made, Calibration(card=made.card_digest, about={"who": "me"}), tmp_path)
    run("--install", made.path)
    line = "from lab-flow of old-flow, to 2 people of Lab, 9.5 min: PSNR +0.80 dB on slices kept out"
    assert f"    adapted: {line}\n" in run()[1]
    assert json.loads(run("--json")[1])[0]["parent"] == "lab-flow"
    out = tmp_path / "share"
    assert run("--export", "more-flow", "-o", out)[1].count("wrote") == 2
    copy = read_checkpoint(out / "more-flow.safetensors")
    assert copy.sha256 == made.sha256
    run("--remove", "more-flow")
    assert copy.calibration is not None and copy.calibration.about == {"who": "me"}
    assert run("--install", copy.path)[0] == 0
    status, _, err = run("--export", "more-flow", "-o", out)
    assert (status, err) == (2, f"'{copy.path}' is there already; choose another folder with -o.\n")


@pytest.mark.parametrize(
    "words, line",
    [
        (("--install", "absent.safetensors"), "No checkpoint file at 'absent.safetensors'."),
        (("--remove", "absent"), "No checkpoint 'absent' is installed. Your own: none."),
        (("--install", "https://x/y"), "A download needs --sha256: copy it from where the checkpoint is offered."),
        (("--install", "a", "--remove", "b"), "Either --install, --remove or --export, one at a time."),
        (("--export", "absent"), "--export NAME goes with -o FOLDER."),
        (("--export", "absent", "-o", "x"), "No checkpoint 'absent' is installed. Installed: none."),
        (("--sha256", "0" * 64), "--sha256 goes with --install."),
    ],
)
def test_a_mistake_is_one_line(run: Run, words: tuple[str, ...], line: str) -> None:
    assert run(*words) == (2, "", line + "\n")

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from helpers import tiny_checkpoint
from napari_mrtrans.checkpoints import library
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
    assert run("--remove", "tiny-flow") == (0, f"deleted {place}\n", "")
    assert run()[1].startswith("No checkpoints installed")


@pytest.mark.parametrize(
    "words, line",
    [
        (("--install", "absent.safetensors"), "No checkpoint file at 'absent.safetensors'."),
        (("--remove", "absent"), "No checkpoint 'absent' is installed. Your own: none."),
        (("--install", "https://x/y"), "A download needs --sha256: copy it from where the checkpoint is offered."),
        (("--install", "a", "--remove", "b"), "Either --install or --remove, one at a time."),
        (("--sha256", "0" * 64), "--sha256 goes with --install."),
    ],
)
def test_a_mistake_is_one_line(run: Run, words: tuple[str, ...], line: str) -> None:
    assert run(*words) == (2, "", line + "\n")

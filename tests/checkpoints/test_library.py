from __future__ import annotations

import json
import shutil
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from helpers import tiny_checkpoint
from napari_mrtrans.checkpoints import library
from napari_mrtrans.checkpoints.card import Adapted
from napari_mrtrans.checkpoints.checkpoint import CARD_KEY
from napari_mrtrans.checkpoints.library import (
    checkpoints_for,
    choose_checkpoint,
    list_checkpoints,
    load_checkpoint,
    no_checkpoint_line,
)
from napari_mrtrans.errors import CheckpointError
from napari_mrtrans.models.families import FAMILIES
from napari_mrtrans.scan.contrasts import Contrast, Pair

T1T2 = Pair(Contrast.T1, Contrast.T2)
T1FLAIR = Pair(Contrast.T1, Contrast.FLAIR)
Place = Callable[..., Path]


@pytest.fixture
def shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    """Exactly what is put into it is shipped; the user's folder is ``tmp_path / "user"``."""
    monkeypatch.setattr(library, "shipped_checkpoint_dir", lambda: tmp_path / "shipped")
    monkeypatch.setenv("NAPARI_MRTRANS_CHECKPOINTS", str(tmp_path / "user"))

    def place(name: str, family: str, pairs: list[Pair] | None = None, where: str = "shipped", **card: object) -> Path:
        """A file that is good enough to be listed; families that this version cannot build, too."""
        folder = tmp_path / where
        folder.mkdir(exist_ok=True)
        document = {
            "name": name,
            "model": family,
            "options": {},
            "pairs": [str(pair) for pair in pairs or [T1T2]],
            "grid": {},
            "intensity": {"headroom": {"T1": 2.0}},
            "sampler": {},
            **card,
        }
        path = folder / f"{name}.safetensors"
        save_file({"w": np.zeros(4, np.float16)}, path, metadata={CARD_KEY: json.dumps(document)})
        return path

    return place


def names() -> list[str]:
    return [checkpoint.name for checkpoint in list_checkpoints()]


def test_nothing_installed(shipped: Place) -> None:
    assert list_checkpoints() == []
    assert no_checkpoint_line(T1T2) == (
        "No checkpoint for T1 → T2. Installed: none. Train one with napari-mrtrans-train."
    )


def test_order_is_by_family_and_the_shipped_ones_come_first(shipped: Place) -> None:
    for family in sorted((*FAMILIES, "novel")):
        shipped(f"z-{family}", family)
        shipped(f"a-{family}", family, where="user")
    expected = [f"{letter}-{family}" for family in (*FAMILIES, "novel") for letter in "za"]
    assert names() == expected
    assert names()[0] == "z-flow"


def test_what_was_adapted_to_a_scanner_is_nobody_s_default(shipped: Place) -> None:
    """Its name may come first in the alphabet; on other scanners it is worse."""
    shipped("t1-t2-flow", "flow")
    adapted = Adapted(
        parent="t1-t2-flow", parent_sha256="0", lineage=["t1-t2-flow"], site="hospital-a", people=1, sessions=1,
        minutes=10, gain_db=1.0, judged_on="slices",
    )  # fmt: skip
    shipped("hospital-a-flow", "flow", where="user", adapted=adapted.model_dump())
    assert names() == ["t1-t2-flow", "hospital-a-flow"]
    assert load_checkpoint("flow").name == "t1-t2-flow"
    assert choose_checkpoint(None, *T1T2).name == "t1-t2-flow"
    assert choose_checkpoint("hospital-a-flow", *T1T2).name == "hospital-a-flow"


def test_only_checkpoints_that_serve_the_pair(shipped: Place) -> None:
    shipped("one", "flow", [T1FLAIR])
    shipped("two", "direct", [T1T2, T1FLAIR])
    assert [c.name for c in checkpoints_for(Contrast.T1, Contrast.T2)] == ["two"]
    assert [c.name for c in checkpoints_for(Contrast.T1, Contrast.FLAIR)] == ["one", "two"]
    assert checkpoints_for(Contrast.T2, Contrast.T1) == []


def test_the_user_s_file_hides_its_shipped_namesake(shipped: Place) -> None:
    shipped("same", "flow", notes=["shipped"])
    mine = shipped("same", "flow", where="user", notes=["mine"])
    (found,) = list_checkpoints()
    assert found.path == mine
    assert found.card.notes == ["mine"]
    mine.write_bytes(b"damaged")
    with pytest.warns(UserWarning, match=r"'same\.safetensors' is truncated"):
        (found,) = list_checkpoints()
    assert found.card.notes == ["shipped"]


def test_a_damaged_file_is_skipped_with_a_warning(shipped: Place, tmp_path: Path) -> None:
    shipped("good", "flow")
    blob = shipped("bad", "direct").read_bytes()
    (tmp_path / "shipped" / "bad.safetensors").write_bytes(blob[:-3])
    (tmp_path / "shipped" / "folder.safetensors").mkdir()
    (tmp_path / "shipped" / "notes.txt").write_text("not looked at")
    with pytest.warns(UserWarning) as caught:
        assert names() == ["good"]
    lines = sorted(str(warning.message) for warning in caught)
    assert len(lines) == 2
    assert lines[0] == "'bad.safetensors' is truncated; install it again."
    assert "folder.safetensors" in lines[1]


def test_sound_files_raise_no_warning(shipped: Place) -> None:
    shipped("good", "flow")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert names() == ["good"]


def test_load_by_name_family_and_file(shipped: Place, tmp_path: Path) -> None:
    shipped("b-flow", "flow")
    shipped("a-direct", "direct")
    shipped("flow-two", "flow")
    other = tiny_checkpoint(tmp_path / "elsewhere" / "x.safetensors", name="elsewhere").path
    assert load_checkpoint("a-direct").name == "a-direct"
    assert load_checkpoint("flow").name == "b-flow"
    assert load_checkpoint("direct").name == "a-direct"
    assert load_checkpoint(other).name == "elsewhere"
    assert load_checkpoint(str(other)).name == "elsewhere"
    unusual = other.rename(other.with_suffix(".weights"))
    assert load_checkpoint(unusual).name == "elsewhere"


def test_a_name_beats_a_family_also_for_a_pair(shipped: Place) -> None:
    """Each command means the same by one name."""
    shipped("t1-t2-flair-direct", "direct")
    shipped("direct", "direct", where="user")
    assert load_checkpoint("direct").name == choose_checkpoint("direct", *T1T2).name == "direct"


def test_what_is_half_written_or_macos_left_is_no_checkpoint(shipped: Place, tmp_path: Path) -> None:
    shipped("mine", "flow", where="user")
    (file,) = tmp_path.rglob("mine.safetensors")
    shutil.copy(file, file.with_name(".part-host-1-other.safetensors"))
    file.with_name("._mine.safetensors").write_bytes(b"Mac OS X")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert names() == ["mine"]


def test_two_contrasts_and_a_family_in_any_letters(shipped: Place) -> None:
    shipped("mine", "flow")
    shipped("other", "direct")
    assert load_checkpoint("Flow").name == choose_checkpoint("FLOW", *T1T2).name == "mine"
    shipped("of-later", "NewNet")
    assert load_checkpoint("NewNet").name == load_checkpoint("newnet").name == "of-later"
    assert load_checkpoint("t1-t2-direct").name == load_checkpoint("T1-T2-Direct").name == "other"
    with pytest.raises(CheckpointError, match="No checkpoint 't2-t1-direct'"):
        load_checkpoint("t2-t1-direct")


def test_a_name_beats_a_family(shipped: Place) -> None:
    shipped("direct", "flow")
    shipped("a", "direct")
    assert load_checkpoint("direct").card.model == "flow"


@pytest.mark.parametrize("name", ["ddpm", "nothing", ""])
def test_load_unknown(name: str, shipped: Place) -> None:
    shipped("one", "flow")
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(name)
    assert str(caught.value) == f"No checkpoint '{name}'. Installed: one."


def test_load_missing_file(shipped: Place) -> None:
    with pytest.raises(CheckpointError, match=r"No checkpoint file at 'gone\.safetensors'"):
        load_checkpoint("gone.safetensors")


def test_choose_the_preferred_one_or_the_one_named(shipped: Place) -> None:
    shipped("b", "direct", [T1T2, T1FLAIR])
    shipped("c", "ddpm", [T1T2])
    shipped("d", "flow", [T1FLAIR])
    shipped("e", "flow", [T1T2])
    assert choose_checkpoint(None, *T1T2).name == "e"
    assert choose_checkpoint("flow", *T1T2).name == "e", "the family's member that serves the pair, not its first"
    assert choose_checkpoint("flow", *T1FLAIR).name == "d"
    assert choose_checkpoint("direct", *T1FLAIR).name == "b"
    assert choose_checkpoint("c", *T1T2).name == "c"


def test_none_serves_the_pair(shipped: Place, tmp_path: Path) -> None:
    shipped("one-flow", "flow")
    shipped("one-direct", "direct")
    with pytest.raises(CheckpointError) as caught:
        choose_checkpoint(None, Contrast.FLAIR, Contrast.PD)
    assert str(caught.value) == (
        "No checkpoint for FLAIR → PD. Installed: one-flow, one-direct. Train one with napari-mrtrans-train."
    )
    other = tiny_checkpoint(tmp_path / "x.safetensors", pairs=[T1FLAIR], name="other").path
    for name, real in (("flow", "one-flow"), ("one-direct", "one-direct"), (other, "other")):
        with pytest.raises(CheckpointError) as caught:
            choose_checkpoint(name, Contrast.FLAIR, Contrast.PD)
        assert str(caught.value).startswith(f"'{real}' does not serve FLAIR→PD; it serves T1→")
        assert "\n" not in str(caught.value)


def test_listing_and_cards_import_no_torch(tmp_path: Path) -> None:
    """Measured in a process of its own, because this one has imported torch long ago."""
    tiny_checkpoint(tmp_path / "tiny.safetensors")
    code = (
        "import sys, napari_mrtrans as mt\n"
        "(c,) = [c for c in mt.list_checkpoints() if c.name == 'tiny']\n"
        "c.sha256, c.n_parameters, c.size_bytes, c.deterministic, c.pairs\n"
        "mt.load_checkpoint('tiny'); mt.checkpoints_for(*c.pairs[0])\n"
        "print(*sorted({'torch', 'napari', 'qtpy', 'scipy', 'skimage'} & set(sys.modules)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"NAPARI_MRTRANS_CHECKPOINTS": str(tmp_path), "PATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == ""


def test_a_file_called_like_a_family_does_not_hide_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    installed = tmp_path / "installed"
    monkeypatch.setenv("NAPARI_MRTRANS_CHECKPOINTS", str(installed))
    tiny_checkpoint(installed / "aaa-flow.safetensors", name="aaa-flow")
    (tmp_path / "aaa-flow").write_text("notes")
    monkeypatch.chdir(tmp_path)
    assert load_checkpoint("aaa-flow").path.parent == installed

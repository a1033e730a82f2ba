"""Checkpoints from files and from a web server of our own; whatever goes wrong leaves nothing behind."""

from __future__ import annotations

import hashlib
import json
import shutil
import socket
import threading
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from helpers import tiny_checkpoint
from napari_mrtrans.checkpoints import library
from napari_mrtrans.checkpoints.calibration import Calibration
from napari_mrtrans.checkpoints.card import SamplerDefaults
from napari_mrtrans.checkpoints.checkpoint import CALIBRATION_SUFFIX, read_checkpoint, write_calibration
from napari_mrtrans.checkpoints.installing import DownloadCancelled, check_digest, download, export, install
from napari_mrtrans.checkpoints.library import list_checkpoints
from napari_mrtrans.checkpoints.planes import PLANES_SUFFIX, planes_of
from napari_mrtrans.checkpoints.removing import remove
from napari_mrtrans.errors import CheckpointError, MrtransError


@pytest.fixture
def user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's folder, not made yet; nothing is shipped."""
    monkeypatch.setattr(library, "shipped_checkpoint_dir", lambda: tmp_path / "shipped")
    monkeypatch.setenv("NAPARI_MRTRANS_CHECKPOINTS", str(tmp_path / "user"))
    return tmp_path / "user"


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_checkpoint(tmp_path_factory.mktemp("made") / "run.safetensors", name="tiny-flow").path


@pytest.fixture
def file(original: Path, tmp_path: Path) -> Path:
    """A checkpoint called tiny-flow, in a file of another name."""
    (tmp_path / "made").mkdir()
    return Path(shutil.copy(original, tmp_path / "made"))


def sha(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def contents(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []


# --- install ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("given", [False, True])
def test_installed_under_the_name_in_its_card(user: Path, file: Path, given: bool) -> None:
    installed = install(file, sha256=f"SHA256:{sha(file).upper()} " if given else None)
    assert installed.path == user / "tiny-flow.safetensors"
    assert sha(installed.path) == sha(file)
    assert [checkpoint.name for checkpoint in list_checkpoints()] == ["tiny-flow"]
    assert contents(user) == ["tiny-flow.safetensors"]


def test_its_calibration_comes_along(user: Path, file: Path) -> None:
    checkpoint = read_checkpoint(file)
    write_calibration(checkpoint, Calibration(card=checkpoint.card_digest, about={"n": 3}), file.parent)
    assert install(file).calibration.about == {"n": 3}
    assert remove("tiny-flow") == [user / f"tiny-flow{CALIBRATION_SUFFIX}", user / "tiny-flow.safetensors"]
    assert contents(user) == []


def test_a_newer_calibration_takes_the_place_of_that_there(user: Path, file: Path) -> None:
    install(file)
    checkpoint = read_checkpoint(file)
    for n in (3, 4):
        write_calibration(checkpoint, Calibration(card=checkpoint.card_digest, about={"n": n}), file.parent)
        with pytest.raises(CheckpointError, match="SHA-256"):
            install(file, sha256="0" * 64)
        assert install(file).calibration.about == {"n": n}
    with pytest.raises(CheckpointError, match="is installed already"):
        install(file)
    assert contents(user) == [f"tiny-flow{CALIBRATION_SUFFIX}", "tiny-flow.safetensors"]


def test_a_calibration_fitted_where_it_is_exported_to_stays(user: Path, file: Path, tmp_path: Path) -> None:
    checkpoint = read_checkpoint(file)
    write_calibration(checkpoint, Calibration(card=checkpoint.card_digest, about={"n": 3}), file.parent)
    installed = install(file)
    mine = Calibration(card=checkpoint.card_digest, about={"n": 4})
    write_calibration(installed, mine, tmp_path / "out")
    export("tiny-flow", tmp_path / "out")
    assert read_checkpoint(tmp_path / "out" / "tiny-flow.safetensors").calibration == mine
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / f"tiny-flow{CALIBRATION_SUFFIX}").write_text("notes of mine")
    with pytest.raises(CheckpointError, match=r"tiny-flow\.calibration\.json' is there already; choose another folder"):
        export("tiny-flow", tmp_path / "foreign")
    assert contents(tmp_path / "foreign") == [f"tiny-flow{CALIBRATION_SUFFIX}"]


@pytest.mark.parametrize("text", ["{", json.dumps({"card": "0" * 64})])
def test_a_calibration_that_does_not_belong_stays_behind(user: Path, file: Path, text: str) -> None:
    file.with_suffix(CALIBRATION_SUFFIX).write_text(text)
    install(file)
    assert contents(user) == ["tiny-flow.safetensors"]


def with_planes(folder: Path, name: str = "tiny-direct") -> Path:
    """A checkpoint that looks at the head from three sides."""
    tiny_checkpoint(folder / f"run{PLANES_SUFFIX}", "direct", seed=7)
    return tiny_checkpoint(folder / "run.safetensors", "direct", name=name).path


def test_its_network_for_other_planes_comes_along(user: Path, tmp_path: Path) -> None:
    made = with_planes(tmp_path)
    installed = install(made)
    assert planes_of(installed) is not None
    copies = export("tiny-direct", tmp_path / "passed-on")
    assert [sha(copy) for copy in copies] == [sha(made), sha(tmp_path / f"run{PLANES_SUFFIX}")]
    assert remove("tiny-direct") == [user / f"tiny-direct{PLANES_SUFFIX}", user / "tiny-direct.safetensors"]
    assert contents(user) == []
    install(copies[0])
    assert contents(user) == [f"tiny-direct{PLANES_SUFFIX}", "tiny-direct.safetensors"]


@pytest.mark.parametrize("calibrated", [False, True])
def test_another_network_for_other_planes_takes_the_place_of_that_there(
    user: Path, tmp_path: Path, calibrated: bool
) -> None:
    """Also of one that had none, with a newer calibration and without."""
    made = tiny_checkpoint(tmp_path / "run.safetensors", "direct", name="tiny-direct")
    install(made.path)
    for seed in (7, 8):
        planes = tiny_checkpoint(tmp_path / f"run{PLANES_SUFFIX}", "direct", seed=seed).path
        if calibrated:
            write_calibration(made, Calibration(card=made.card_digest, about={"n": seed}), tmp_path)
        said: list[str] = []
        installed = install(made.path, say=said.append)
        parts = "calibration and its network for other planes" if calibrated else "network for other planes"
        assert said == [f"'tiny-direct' is installed already; brought its {parts} to '{user}'."]
        assert sha(user / f"tiny-direct{PLANES_SUFFIX}") == sha(planes) and planes_of(installed) is not None
        assert installed.calibration is None or installed.calibration.about == {"n": seed}
    with pytest.raises(CheckpointError, match="is installed already"):
        install(made.path)


def test_a_damaged_network_for_other_planes_is_told(user: Path, tmp_path: Path) -> None:
    made = with_planes(tmp_path)
    damage(tmp_path / f"run{PLANES_SUFFIX}")
    with pytest.raises(CheckpointError, match=r"'run\.planes\.safetensors' is truncated; install it again"):
        install(made)
    assert contents(user) == []


def test_a_network_for_other_planes_has_no_mirror_images(tmp_path: Path) -> None:
    axial = tiny_checkpoint(tmp_path / "mine.safetensors", "direct")
    tiny_checkpoint(tmp_path / f"mine{PLANES_SUFFIX}", "direct", sampler=SamplerDefaults(mirror=True))
    with pytest.raises(
        CheckpointError, match=r"mirror images, which is for axial slices; train it with sampler\.mirror"
    ):
        planes_of(axial)


def test_a_network_for_other_planes_is_no_checkpoint_by_itself(user: Path, tmp_path: Path) -> None:
    with_planes(tmp_path)
    with pytest.raises(CheckpointError, match=r"Install 'run\.safetensors' with this file beside it"):
        install(tmp_path / f"run{PLANES_SUFFIX}")
    assert contents(user) == []


def test_what_is_left_of_another_does_not_become_its_network_for_other_planes(user: Path, tmp_path: Path) -> None:
    made = with_planes(tmp_path)
    left = tiny_checkpoint(user / f"tiny-direct{PLANES_SUFFIX}", "direct", seed=8).path
    (tmp_path / f"run{PLANES_SUFFIX}").unlink()
    with pytest.raises(CheckpointError, match=r"in its place already: delete '.*tiny-direct\.planes\.safetensors'"):
        install(made)
    assert contents(user) == [left.name]


def damage(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-1])


def no_checkpoint(file: Path) -> None:
    file.write_bytes(b"GIF89a" * 100)


@pytest.mark.parametrize(
    "spoil, line",
    [
        (damage, "'run.safetensors' is truncated; install it again."),
        (
            no_checkpoint,
            "'run.safetensors' is truncated or not a safetensors checkpoint; give another, or install it again.",
        ),
        (Path.unlink, "No checkpoint file at "),
    ],
)
def test_a_damaged_file_is_refused(user: Path, file: Path, spoil: Callable[[Path], object], line: str) -> None:
    spoil(file)
    with pytest.raises(CheckpointError) as error:
        install(file)
    assert str(error.value).startswith(line)
    assert not user.exists()


def test_another_digest_is_refused(user: Path, file: Path) -> None:
    with pytest.raises(CheckpointError, match="does not have the SHA-256 given"):
        install(file, sha256="0" * 64)
    assert contents(user) == []


@pytest.mark.parametrize("text", ["", "abc", "g" * 64, "0" * 63])
def test_what_is_no_digest(text: str) -> None:
    with pytest.raises(CheckpointError, match="64 hexadecimal digits"):
        check_digest(text)


@pytest.mark.parametrize("name", ["../evil", "a/b", ".hidden", "", "-x"])
def test_a_name_that_is_no_file_name_is_refused(user: Path, tmp_path: Path, name: str) -> None:
    checkpoint = tiny_checkpoint(tmp_path / "made.safetensors", name=name or " ")
    with pytest.raises(CheckpointError, match="no file name"):
        install(checkpoint.path)
    assert contents(user) == []


def test_a_family_of_the_future_is_refused(user: Path, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("napari_mrtrans.checkpoints.installing.FAMILIES", {"direct": None})
    with pytest.raises(CheckpointError, match="'tiny-flow' holds a 'flow' model; this version knows direct"):
        install(file)


def test_a_name_that_is_taken_is_refused(user: Path, file: Path, tmp_path: Path) -> None:
    install(file)
    with pytest.raises(CheckpointError, match="'tiny-flow' is installed already"):
        install(file)
    (tmp_path / "shipped").mkdir()
    remove("tiny-flow")
    shutil.copy(file, tmp_path / "shipped" / "tiny-flow.safetensors")
    with pytest.raises(CheckpointError, match="'tiny-flow' comes with the plugin"):
        install(file)


def test_a_damaged_file_in_its_place_is_not_replaced(user: Path, file: Path) -> None:
    user.mkdir()
    (user / "tiny-flow.safetensors").write_bytes(b"precious")
    with pytest.raises(CheckpointError, match=r"delete '.*tiny-flow\.safetensors' first"):
        install(file)
    assert (user / "tiny-flow.safetensors").read_bytes() == b"precious"


def test_a_full_disk_is_told_and_leaves_nothing(user: Path, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(source: Path, part: Path) -> None:
        part.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(shutil, "copyfile", full)
    with pytest.raises(MrtransError, match=r"No space left on device\)\. Make room"):
        install(file)
    assert contents(user) == []


# --- remove -------------------------------------------------------------------------------------------------------


def test_only_ones_own_can_be_removed(user: Path, file: Path, tmp_path: Path) -> None:
    (tmp_path / "shipped").mkdir()
    shipped = Path(shutil.copy(file, tmp_path / "shipped" / "tiny-flow.safetensors"))
    with pytest.raises(CheckpointError, match="'tiny-flow' comes with the plugin and cannot be removed"):
        remove("tiny-flow")
    assert shipped.exists()


def test_a_calibration_of_ones_own_of_a_shipped_checkpoint_comes_and_goes(
    user: Path, file: Path, tmp_path: Path
) -> None:
    (tmp_path / "shipped").mkdir()
    shipped = Path(shutil.copy(file, tmp_path / "shipped" / "tiny-flow.safetensors"))
    with pytest.raises(CheckpointError, match="'tiny-flow' comes with the plugin"):
        install(file)
    checkpoint = read_checkpoint(file)
    write_calibration(checkpoint, Calibration(card=checkpoint.card_digest, about={"n": 3}), file.parent)
    said: list[str] = []
    assert install(file, say=said.append).path == shipped
    brought = user / "tiny-flow.calibration.json"
    assert brought.is_file() and "brought its calibration" in said[0] and not (user / "tiny-flow.safetensors").exists()
    assert remove("tiny-flow") == [brought] and shipped.exists() and not brought.exists()


def test_what_is_not_installed_cannot_be_removed(user: Path, file: Path) -> None:
    install(file)
    with pytest.raises(CheckpointError, match="No checkpoint 'flow' is installed"):
        remove("flow")


# --- download -----------------------------------------------------------------------------------------------------


@pytest.fixture
def server(file: Path) -> Iterator[str]:
    """An address whose files are those of the folder of ``file``."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(file.parent))) as http:
        thread = threading.Thread(target=http.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{http.server_port}"
        http.shutdown()
        thread.join()


def test_downloaded_checked_and_installed(user: Path, file: Path, server: str) -> None:
    seen: list[tuple[int, int]] = []
    installed = download(f"{server}/run.safetensors", sha(file), progress=lambda *at: seen.append(at))
    assert installed.path == user / "tiny-flow.safetensors" and sha(installed.path) == sha(file)
    size = file.stat().st_size
    assert seen[-1] == (size, size)
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)


def test_another_file_than_published_is_refused(user: Path, file: Path, server: str) -> None:
    with pytest.raises(CheckpointError, match="does not have that SHA-256"):
        download(f"{server}/run.safetensors", "0" * 64)
    assert not user.exists()


def test_cancelled_at_the_next_bytes(user: Path, file: Path, server: str) -> None:
    with pytest.raises(DownloadCancelled, match="nothing was installed"):
        download(f"{server}/run.safetensors", sha(file), cancel=lambda: True)
    assert not user.exists()


def test_missing_on_the_server(user: Path, server: str) -> None:
    with pytest.raises(CheckpointError, match=r"\(404 "):
        download(f"{server}/other.safetensors", "0" * 64)


def test_nobody_answers(user: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{free.getsockname()[1]}/x.safetensors"
    with pytest.raises(CheckpointError, match=r"Cannot download .* \(no connection\)"):
        download(address, "0" * 64)


def test_an_address_that_is_none_was_not_damaged_on_the_way(user: Path) -> None:
    with pytest.raises(CheckpointError, match=r"Cannot download 'https:///x.safetensors'"):
        download("https:///x.safetensors", "0" * 64)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "ftp://x/y",
        "http://x/y.safetensors",
        "http://127.0.0.1.example.org/x",
        "file:///etc/passwd",
        "run.safetensors",
        "https://a b",
    ],
)
def test_what_is_no_address(url: str) -> None:
    with pytest.raises(CheckpointError, match="no address to download from safely"):
        download(url, "0" * 64)

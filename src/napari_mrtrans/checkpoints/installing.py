"""Checkpoints come from a file or from the web, and are passed on. Only the user's own folder is touched."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from ..errors import CheckpointError
from ..models.families import FAMILIES, POOL
from ..paths import user_checkpoint_dir, write_together
from .calibration import Calibration
from .card import is_file_name
from .checkpoint import CALIBRATION_SUFFIX, Checkpoint, calibration_text, read_checkpoint
from .header import digest
from .library import is_shipped, listed_quietly
from .planes import PLANES_SUFFIX, is_planes, own_planes
from .pool import left_behind

#: Seconds without an answer before a download is given up.
TIMEOUT = 30
#: Bytes between two reports of progress, when a cancelled download ends.
CHUNK = 1 << 12
_REMEDY = "Make room or mend its permissions, or name another in NAPARI_MRTRANS_CHECKPOINTS."


class DownloadCancelled(CheckpointError):
    """The user stopped a download; nothing is left of it."""


def install(
    path: str | Path, *, sha256: str | None = None, say: Callable[[str], None] = lambda line: None
) -> Checkpoint:
    """Copy a checkpoint, and what lies beside it, into the user's folder; it is there whole or not at all.

    Beside it may be its calibration, its network for other planes, and members of a pool, which are installed first. Of
    one that is installed already, another calibration, and another network for other planes, take the place of those
    there.

    Args:
        path: A .safetensors file made by ``napari-mrtrans-train``.
        sha256: Digest that the file must have, 64 hexadecimal digits; None = any.
        say: Told what was brought where the checkpoint itself is installed already.

    Raises:
        CheckpointError: damaged, of another digest, of a family that this version does not know, or its name is taken.
        MrtransError: the user's folder cannot be written.
    """
    path = Path(path)
    if is_planes(path):
        whose = path.name.removesuffix(PLANES_SUFFIX)
        raise CheckpointError(
            f"'{path.name}' is what '{whose}' has for coronal and sagittal slices, and no checkpoint by itself. "
            f"Install '{whose}.safetensors' with this file beside it."
        )
    expected = None if sha256 is None else check_digest(sha256)
    checkpoint = read_checkpoint(path)
    if expected not in (None, checkpoint.sha256):
        raise CheckpointError(_another(path))
    name, family = checkpoint.name, checkpoint.card.model
    if not is_file_name(name):
        raise CheckpointError(f"'{path.name}' calls itself '{name[:100]}', which is no file name; change its card.")
    if family not in (*FAMILIES, POOL):
        raise CheckpointError(f"'{name}' holds a '{family}' model; this version knows {', '.join(FAMILIES)}.")
    folder = user_checkpoint_dir()
    file = f"{name}.safetensors"
    calibration = _calibration(path, checkpoint)
    if (planes := own_planes(checkpoint)) is not None:
        read_checkpoint(planes)  # one that is damaged is told before anything is written
    if (there := _brought(checkpoint, calibration, planes, say)) is not None:
        return there
    taken = [folder / file] if planes is not None else [folder / file, folder / f"{name}{PLANES_SUFFIX}"]
    _refuse_taken(name, taken)
    members = left_behind(checkpoint, folder)
    for member in members:  # all of them before the first is copied
        _refuse_taken(member.name, [folder / f"{member.name}.safetensors"])
    for member in members:
        install(member.path)

    def copy(part: Path) -> None:
        shutil.copyfile(path, part)
        # of the copy: what was checked is what is installed
        if expected is not None and digest(part) != expected:
            raise CheckpointError(_another(path))

    write_together(folder, _beside(name, calibration, planes) | {file: copy}, _REMEDY)
    return read_checkpoint(folder / file)


def _another(path: Path) -> str:
    return f"'{path.name}' does not have the SHA-256 given; it is damaged or another file."


def _beside(name: str, calibration: str | None, planes: Path | None) -> dict[str, str | Callable[[Path], object]]:
    """What is written beside the checkpoint ``name``, as :func:`~napari_mrtrans.paths.write_together` takes it."""
    files: dict[str, str | Callable[[Path], object]] = {}
    if planes is not None:
        files[f"{name}{PLANES_SUFFIX}"] = lambda part: shutil.copyfile(planes, part)
    if calibration is not None:
        files[f"{name}{CALIBRATION_SUFFIX}"] = calibration
    return files


def _brought(
    checkpoint: Checkpoint, calibration: str | None, planes: Path | None, say: Callable[[str], None]
) -> Checkpoint | None:
    """This very file where it is installed already, with another calibration, or another network for other planes, than
    it had; None: there is nothing to bring. The calibration of a shipped one goes to the user's folder."""
    there = next(
        (one for one in listed_quietly() if (one.name, one.sha256) == (checkpoint.name, checkpoint.sha256)), None
    )
    if there is None:
        return None
    folder = user_checkpoint_dir() if is_shipped(there) else there.path.parent
    planes = None if is_shipped(there) else planes
    if there.calibration and calibration_text(there.calibration) == calibration:
        calibration = None
    known = own_planes(there)
    if planes is not None and known is not None and digest(planes) == digest(known):
        planes = None
    if calibration is None and planes is None:
        return None
    write_together(folder, _beside(there.name, calibration, planes), _REMEDY)
    parts = [*(["calibration"] if calibration else []), *(["network for other planes"] if planes else [])]
    say(f"'{there.name}' is installed already; brought its {' and its '.join(parts)} to '{folder}'.")
    return read_checkpoint(there.path)


def _refuse_taken(name: str, places: list[Path]) -> None:
    for checkpoint in listed_quietly():
        if checkpoint.name == name:
            how = "comes with the plugin" if is_shipped(checkpoint) else "is installed already; remove that one first"
            raise CheckpointError(f"'{name}' {how}, or give the new one another name.")
    for place in places:
        if place.exists():
            raise CheckpointError(f"A damaged or misnamed file is in its place already: delete '{place}' first.")


def _calibration(path: Path, checkpoint: Checkpoint) -> str | None:
    beside = path.with_suffix(CALIBRATION_SUFFIX)
    if not beside.is_file():
        return None
    try:
        text = beside.read_text(encoding="utf-8")
        belongs = Calibration.model_validate_json(text).card == checkpoint.card_digest
    except (OSError, ValueError):
        return None
    return text if belongs else None


def download(
    url: str,
    sha256: str,
    *,
    progress: Callable[[int, int], None] | None = None,
    cancel: Callable[[], bool] | None = None,
) -> Checkpoint:
    """Download a checkpoint, check its digest and install it.

    Args:
        url: ``https://``, or ``http://`` of this very machine.
        sha256: Digest of the file, 64 hexadecimal digits.
        progress: Told bytes that have come and bytes in all (0 where the server does not say).
        cancel: Polled while bytes come in; when true, the download is given up.

    Raises:
        DownloadCancelled: ``cancel`` said so.
        CheckpointError: it cannot be had, or as :func:`install`.
        MrtransError: the user's folder cannot be written.
    """
    import pooch
    import requests

    expected = check_digest(sha256)
    if not re.match(r"(https://|http://(localhost|127\.0\.0\.1)(:\d+)?/)\S+$", url):
        raise CheckpointError(f"'{url}' is no address to download from safely; it starts with https://.")
    pooch.get_logger().setLevel("WARNING")
    bar = _Bar(progress or (lambda done, total: None), cancel or (lambda: False))
    downloader = pooch.HTTPDownloader(progressbar=bar, chunk_size=CHUNK, timeout=TIMEOUT)
    with tempfile.TemporaryDirectory(prefix="napari-mrtrans-") as folder:
        try:
            file = pooch.retrieve(url, f"sha256:{expected}", "download.safetensors", folder, downloader=downloader)
        except (
            requests.RequestException,
            OSError,
        ) as error:  # an address that is none, too
            raise CheckpointError(f"Cannot download '{url}' ({_reason(error)}). Try again or elsewhere.") from None
        except ValueError:  # pooch's word for another digest
            raise CheckpointError(
                f"What '{url}' gave does not have that SHA-256: damaged on the way, or another file. Compare both."
            ) from None
        return install(file, sha256=expected)


class _Bar:
    """What pooch takes for a progress bar; raising from it is the only way to stop pooch."""

    def __init__(self, progress: Callable[[int, int], None], cancel: Callable[[], bool]) -> None:
        self.total = 0
        self._done = 0
        self._progress, self._cancel = progress, cancel

    def update(self, size: int) -> None:
        if self._cancel():
            raise DownloadCancelled("The download was cancelled; nothing was installed.")
        self._done += size
        self._progress(min(self._done, self.total) if self.total else self._done, self.total)

    def reset(self) -> None:
        self._done = 0

    def close(self) -> None:
        pass


def export(name: str, folder: Path) -> list[Path]:
    """Copy an installed checkpoint, and what lies beside it, to where it can be passed on; the copies.

    Members of a pool go with it, unless they come with the plugin.

    Raises:
        CheckpointError: there is none of that name, or a file of that name is there already; a member of a pool is
            missing.
        MrtransError: the folder cannot be written.
    """
    installed = listed_quietly()
    found = next((checkpoint for checkpoint in installed if checkpoint.name == name), None)
    if found is None:
        there = ", ".join(checkpoint.name for checkpoint in installed) or "none"
        raise CheckpointError(f"No checkpoint '{name}' is installed. Installed: {there}.")
    file = f"{name}.safetensors"
    fitted = found.calibration
    if _calibration(folder / file, found) is not None:
        fitted = None  # one was fitted there, for this very file: it stays
    files = _beside(name, calibration_text(fitted) if fitted else None, own_planes(found))
    for there in (file, *files):
        if (folder / there).exists():
            raise CheckpointError(f"'{folder / there}' is there already; choose another folder with -o.")
    copies = [copy for member in left_behind(found, folder) for copy in export(member.name, folder)]
    original = found.path
    return copies + write_together(folder, {file: lambda part: shutil.copyfile(original, part)} | files)


def check_digest(text: str) -> str:
    """A SHA-256 as it may be copied from a web page, as 64 small hexadecimal digits.

    Raises:
        CheckpointError: it is none.
    """
    plain = text.strip().lower().removeprefix("sha256:")
    if not re.fullmatch(r"[0-9a-f]{64}", plain):
        raise CheckpointError("A SHA-256 has 64 hexadecimal digits; copy it from where the checkpoint is offered.")
    return plain


def _reason(error: Exception) -> str:
    import requests

    response = getattr(error, "response", None)
    if response is not None:
        return f"{response.status_code} {response.reason}"
    if isinstance(error, requests.ConnectionError):
        return "no connection"
    return getattr(error, "strerror", None) or type(error).__name__

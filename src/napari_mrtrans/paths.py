"""The one place that knows where files live, and how results are written."""

from __future__ import annotations

import errno
import glob
import hashlib
import json
import os
import platform
import re
import secrets
import tempfile
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from importlib.resources import files
from math import isfinite
from pathlib import Path
from typing import Any, BinaryIO

import platformdirs

from .errors import MrtransError

_APP = "napari-mrtrans"
#: This machine, among those that share a folder.
_HOST = hashlib.sha256(platform.node().encode()).hexdigest()[:4]
#: Bytes that file systems allow a name, less those of a file that is not complete (:func:`part_of`).
LONGEST_NAME = 255 - len(f".part-{_HOST}-1234567890-")
#: What helps where a folder cannot be written, and where its disk is full.
ELSEWHERE = "Choose another folder with -o."
KEPT = "; what was finished is kept"
_FREE = f"Free some space and run it again{KEPT}."


class WriteError(MrtransError):
    """A folder cannot be written; ``everywhere``: nothing can on its disk, which is full or read-only."""

    everywhere: bool = False


def _own(place: Callable[[str], Path]) -> Path:
    """The user's folder of a kind; one among the temporary files for a user without a home."""
    try:
        return place(_APP)
    except RuntimeError:
        return Path(tempfile.gettempdir()) / f"{_APP}-{os.getuid()}"


def shipped_checkpoint_dir() -> Path:
    """Checkpoints that come with the package."""
    return Path(str(files("napari_mrtrans"))) / "resources" / "checkpoints"


def judge_file() -> Path:
    """The networks that judge slices of the input."""
    return Path(str(files("napari_mrtrans"))) / "resources" / "judge.safetensors"


_preferred_checkpoints: Path | None = None


def user_checkpoint_dir() -> Path:
    """The user's own checkpoints.

    The environment variable NAPARI_MRTRANS_CHECKPOINTS overrides what was preferred, and that the usual place.
    """
    override = os.environ.get("NAPARI_MRTRANS_CHECKPOINTS")
    if override:
        return typed(override).absolute()
    return _preferred_checkpoints or _own(platformdirs.user_data_path) / "checkpoints"


def prefer_checkpoint_dir(folder: Path | None) -> None:
    """Keep the user's own checkpoints in ``folder`` from now on; None: in the usual place."""
    global _preferred_checkpoints
    _preferred_checkpoints = folder


def last_used_file() -> Path:
    """What was chosen last in the window."""
    return _own(platformdirs.user_state_path) / "last-used.ini"


def trial_file() -> Path:
    """Which number format and memory order are faster on the machines that share this home folder."""
    return _own(platformdirs.user_cache_path) / "bf16.json"


def training_cache_dir() -> Path:
    """Decoded training volumes."""
    return _own(platformdirs.user_cache_path) / "training"


def adaptation_dir() -> Path:
    """Where adaptations go that were given no folder."""
    return _own(platformdirs.user_data_path) / "adaptations"


def prepared_cache_dir() -> Path:
    """Brain masks and bias fields of whole heads that were prepared while they were transformed."""
    return _own(platformdirs.user_cache_path) / "prepared"


def metrics_cache_dir() -> Path:
    """Downloaded weights of the networks that metrics use."""
    return _own(platformdirs.user_cache_path) / "metrics"


def alexnet_file() -> Path | None:
    """The user's own copy of AlexNet's weights, named by the environment variable NAPARI_MRTRANS_ALEXNET."""
    named = os.environ.get("NAPARI_MRTRANS_ALEXNET")
    return typed(named).absolute() if named else None


def recipe_dir() -> Path:
    """Recipes that come with the package."""
    return Path(str(files("napari_mrtrans"))) / "training" / "recipes"


def typed(text: str | Path) -> Path:
    """A path as a user wrote it, ``~`` expanded; a ``~name`` of nobody here stays as it stands."""
    try:
        return Path(text).expanduser()
    except RuntimeError:
        return Path(text)


def check_folder(folder: Path, remedy: str = ELSEWHERE) -> None:
    """Ask before the work, not after it, whether results can be written; creates nothing. ``remedy`` ends the line
    of an error.

    Raises:
        MrtransError: the folder, or the one it would be made in, cannot be written.
    """
    try:
        nearest = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    except OSError as error:  # a name that is too long
        raise cannot_write(folder, error, remedy) from None
    if not nearest.is_dir():
        raise cannot_write(folder, NotADirectoryError(0, f"'{nearest}' is no folder"), remedy)
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise cannot_write(folder, PermissionError(0, "no permission"), remedy)


def write_together(
    folder: Path,
    files: Mapping[str, str | Callable[[Path], object]],
    remedy: str = ELSEWHERE,
    replaced: Collection[str] = (),
) -> list[Path]:
    """Write files, each given as its text or as what writes it to a path, into a folder that is made if need be.

    They appear under their names only when all are complete. Where they replace earlier ones, the last of these, which
    says what the others are, is the first to go: whoever is killed leaves no report beside the images of another run.
    ``replaced`` are names of what earlier ones may have had besides; they go as well. ``remedy`` ends the line of an
    error. What killed runs have left of the same files is removed; runs that write them now are not disturbed.

    Raises:
        MrtransError: the folder cannot be written.
    """
    parts = {part_of(folder / name): folder / name for name in files}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path in parts.values():  # first: whoever is killed after the last file is in place will not come again
            remove_parts(path)
        try:
            for part, content in zip(parts, files.values(), strict=True):
                if isinstance(content, str):
                    part.write_text(content, encoding="utf-8", errors="surrogateescape")  # names that are no UTF-8
                else:
                    content(part)
                with part.open("r+b") as file:  # its name must not outlive its content when the power fails
                    os.fsync(file.fileno())
            if len(parts) > 1:
                [*parts.values()][-1].unlink(missing_ok=True)
            for name in replaced:
                (folder / name).unlink(missing_ok=True)
            for part, path in parts.items():
                part.replace(path)
        finally:
            for part in parts:
                part.unlink(missing_ok=True)
    except OSError as error:
        raise cannot_write(folder, error, remedy) from None
    return list(parts.values())


def part_of(path: Path) -> Path:
    """What a file is called in this process until it is complete."""
    return path.with_name(f".part-{_HOST}-{os.getpid()}-{path.name}")


def remove_parts(path: Path) -> None:
    """Remove what processes of this machine that have ended left of a file."""
    for left in path.parent.glob(f".part-{_HOST}-*-{glob.escape(path.name)}"):
        found = re.fullmatch(rf"\.part-{_HOST}-(\d+)-{re.escape(path.name)}", left.name)
        if found and not _lives(int(found[1])):
            with suppress(OSError):  # Windows keeps what is open
                left.unlink()


def _lives(process: int) -> bool:
    """Whether there is a process of this number."""
    if process == os.getpid():
        return True
    if os.name == "nt":  # where asking would end it; what is open cannot be removed there
        return False
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:  # somebody else's
        pass
    return True


def cannot_write(folder: Path, error: OSError, remedy: str = ELSEWHERE) -> WriteError:
    """That a folder cannot be written, and what helps: space where its disk is full and nobody says otherwise."""
    full = _is_full(error)
    said = _FREE if full and remedy == ELSEWHERE else remedy
    made = WriteError(f"Cannot write to '{folder}' ({reason(error)}). {said}")
    made.everywhere = full or error.errno == errno.EROFS
    return made


def _is_full(error: OSError) -> bool:
    """Whether the disk is full, or the user's share of it."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT) or reason(error) == os.strerror(errno.ENOSPC)


def holds_something(path: Path) -> bool:
    """Whether there is a file that is not empty, as one is that a machine without power left."""
    try:
        return path.is_file() and path.stat().st_size > 0
    except OSError:
        return False


def write_shared(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Write a file that several processes may be writing, each the same; it appears under its name when complete.

    What runs that were killed have left of it is removed.

    Raises:
        OSError: it cannot be written.
    """
    part = path.with_name(f".part-{secrets.token_hex(4)}-{path.name}")  # containers have processes of one number
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with part.open("wb") as file:
            write(file)
        part.replace(path)
    except FileNotFoundError:
        if not path.exists():  # or else another process, which was quicker, has removed the part
            raise
    finally:
        part.unlink(missing_ok=True)
    for left in path.parent.glob(f".part-*-{glob.escape(path.name)}"):
        with suppress(OSError):  # Windows keeps what is open
            left.unlink()


def file_digest(path: Path) -> str:
    """SHA-256 of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def json_text(document: Any, **options: Any) -> str:
    """A document as JSON, which knows no NaN and no infinity: they become null; ``options`` as of ``json.dumps``."""

    def known(part: Any) -> Any:
        if isinstance(part, Mapping):
            return {name: known(value) for name, value in part.items()}
        if isinstance(part, list | tuple):
            return [known(value) for value in part]
        return None if isinstance(part, float) and not isfinite(part) else part

    return json.dumps(known(document), allow_nan=False, **options)


def reason(error: OSError) -> str:
    """Why a file cannot be written, in the system's words."""
    if error.strerror is None and "requested and" in str(error):  # numpy's words for a short write
        return os.strerror(errno.ENOSPC)
    return error.strerror or str(error) or type(error).__name__


def plain_line(error: OSError) -> str:
    """What the system refused, in a line with its remedy, where nobody nearer to it has said it."""
    where = f" ('{error.filename}')" if error.filename else ""
    if _is_full(error):
        return f"The disk is full{where}. {_FREE}"
    if isinstance(error, FileNotFoundError):
        return f"A file has gone{where}. Put it back and run it again{KEPT}."
    return f"The system refused: {reason(error)}{where}. Mend that and run it again{KEPT}."

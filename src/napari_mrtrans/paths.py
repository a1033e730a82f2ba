"""The one place that knows where files live, and how results are written."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from importlib.resources import files
from pathlib import Path

import platformdirs

from .errors import MrtransError

_APP = "napari-mrtrans"


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
        return Path(override)
    return _preferred_checkpoints or platformdirs.user_data_path(_APP) / "checkpoints"


def prefer_checkpoint_dir(folder: Path | None) -> None:
    """Keep the user's own checkpoints in ``folder`` from now on; None: in the usual place."""
    global _preferred_checkpoints
    _preferred_checkpoints = folder


def last_used_file() -> Path:
    """What was chosen last in the window."""
    return platformdirs.user_state_path(_APP) / "last-used.ini"


def trial_file() -> Path:
    """Which number format is faster on the machines that share this home folder."""
    return platformdirs.user_cache_path(_APP) / "bf16.json"


def training_cache_dir() -> Path:
    """Decoded training volumes."""
    return platformdirs.user_cache_path(_APP) / "training"


def adaptation_dir() -> Path:
    """Where adaptations go that were given no folder."""
    return platformdirs.user_data_path(_APP) / "adaptations"


def prepared_cache_dir() -> Path:
    """Brain masks and bias fields of whole heads that were prepared while they were transformed."""
    return platformdirs.user_cache_path(_APP) / "prepared"


def metrics_cache_dir() -> Path:
    """Downloaded weights of the networks that metrics use."""
    return platformdirs.user_cache_path(_APP) / "metrics"


def alexnet_file() -> Path | None:
    """The user's own copy of AlexNet's weights, named by the environment variable NAPARI_MRTRANS_ALEXNET."""
    named = os.environ.get("NAPARI_MRTRANS_ALEXNET")
    return Path(named) if named else None


def recipe_dir() -> Path:
    """Recipes that come with the package."""
    return Path(str(files("napari_mrtrans"))) / "training" / "recipes"


def check_folder(folder: Path, remedy: str = "Choose another folder with -o.") -> None:
    """Ask before the work, not after it, whether results can be written; creates nothing. ``remedy`` ends the line
    of an error.

    Raises:
        MrtransError: the folder, or the one it would be made in, cannot be written.
    """
    try:
        nearest = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    except OSError as error:  # a name that is too long
        raise MrtransError(_cannot_write(folder, error, remedy)) from None
    if not nearest.is_dir():
        raise MrtransError(_cannot_write(folder, NotADirectoryError(0, f"'{nearest}' is no folder"), remedy))
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise MrtransError(_cannot_write(folder, PermissionError(0, "no permission"), remedy))


def write_together(
    folder: Path,
    files: Mapping[str, str | Callable[[Path], object]],
    remedy: str = "Choose another folder with -o.",
) -> list[Path]:
    """Write files, each given as its text or as what writes it to a path, into a folder that is made if need be.

    They appear under their names only when all are complete. ``remedy`` ends the line of an error.

    Raises:
        MrtransError: the folder cannot be written.
    """
    parts = {folder / f".part-{name}": folder / name for name in files}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        try:
            for part, content in zip(parts, files.values(), strict=True):
                if isinstance(content, str):
                    part.write_text(content, encoding="utf-8")
                else:
                    content(part)
            for part, path in parts.items():
                part.replace(path)
        finally:
            for part in parts:
                part.unlink(missing_ok=True)
    except OSError as error:
        raise MrtransError(_cannot_write(folder, error, remedy)) from None
    return list(parts.values())


def _cannot_write(folder: Path, error: OSError, remedy: str) -> str:
    return f"Cannot write to '{folder}' ({error.strerror or error}). {remedy}"

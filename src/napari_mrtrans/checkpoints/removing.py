"""Checkpoints go. Only the user's own folder is touched."""

from __future__ import annotations

import os
from pathlib import Path

from ..errors import CheckpointError
from ..paths import user_checkpoint_dir
from .checkpoint import CALIBRATION_SUFFIX
from .library import is_shipped, listed_quietly
from .planes import own_planes
from .pool import check_unpooled


def removable(name: str) -> list[Path]:
    """What :func:`remove` would delete; nothing is.

    Raises:
        CheckpointError: there is none of that name, it comes with the plugin, or a pool needs it.
    """
    installed = listed_quietly()
    found = next((checkpoint for checkpoint in installed if checkpoint.name == name), None)
    if found is None:
        own = ", ".join(checkpoint.name for checkpoint in installed if not is_shipped(checkpoint))
        raise CheckpointError(f"No checkpoint '{name}' is installed. Your own: {own or 'none'}.")
    own_calibration = user_checkpoint_dir() / f"{name}{CALIBRATION_SUFFIX}"
    if is_shipped(found):
        if not own_calibration.is_file():
            raise CheckpointError(f"'{name}' comes with the plugin and cannot be removed.")
        return [own_calibration]
    check_unpooled(found, installed)
    planes = own_planes(found)
    beside = (own_calibration, *([planes] if planes else []), found.path.with_suffix(CALIBRATION_SUFFIX))
    return [*dict.fromkeys(path for path in beside if os.path.lexists(path)), found.path]


def remove(name: str) -> list[Path]:
    """Delete a checkpoint of the user's, with what lies beside it, or the user's calibration of one that comes with the
    plugin; returns what was deleted.

    Raises:
        CheckpointError: there is none of that name, it comes with the plugin, a pool needs it, or it cannot be deleted.
    """
    deleted: list[Path] = []
    for path in removable(name):
        try:
            path.unlink()
        except FileNotFoundError:
            continue
        except OSError as error:
            raise CheckpointError(f"Cannot delete '{path}' ({error.strerror}). Delete it by hand.") from None
        deleted.append(path)
    return deleted

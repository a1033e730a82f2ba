"""napari's preferences for this plugin: *File > Preferences > MR contrast transformation*.

They are declared in napari.yaml; napari shows them, checks them and keeps them beside its own settings.
"""

from __future__ import annotations

from typing import Any, Protocol

from napari.settings import get_plugin_settings

from ..paths import prefer_checkpoint_dir, typed
from .checkpoints.installed import installed

PLUGIN = "napari-mrtrans"


class Defaults(Protocol):
    """The section that napari.yaml calls ``defaults``.

    Attributes:
        samples: Number of samples, 1 to 1000.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``.
        checkpoint_folder: The user's own checkpoints; empty = the usual place.
        events: An emitter for each of these, called with an event that has the new ``value``.
    """

    samples: int
    device: str
    checkpoint_folder: str
    events: Any


class _BuiltIn:
    """Where napari does not know this plugin: the widgets are used without their manifest."""

    samples, device, checkpoint_folder, events = 20, "auto", "", None


#: The one whose changes are followed; napari makes another when plugins come or go.
_followed: Defaults | None = None


def defaults() -> Defaults:
    """What the user prefers; from the first call on, checkpoints are looked for where that says."""
    try:
        found: Defaults = get_plugin_settings(PLUGIN).defaults
    except KeyError:
        return _BuiltIn()
    global _followed
    if found is not _followed:
        _followed = found
        found.events.checkpoint_folder.connect(_on_folder)
        _use_folder(found.checkpoint_folder)
    return found


def _on_folder(event: Any) -> None:
    _use_folder(event.value)
    installed.changed.emit()


def _use_folder(text: str) -> None:
    prefer_checkpoint_dir(typed(text) if text.strip() else None)

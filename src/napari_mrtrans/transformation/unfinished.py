"""Finished slices of a volume on disk until all are there, so that a run that ends early goes on where it was."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from .. import __version__
from ..checkpoints.checkpoint import Checkpoint
from ..checkpoints.planes import beside_digest
from ..ood.signs import Signs
from ..paths import holds_something, reason, write_shared
from ..scan.volume import Volume
from .names import file_name
from .request import Request
from .streaming import SliceUpdate

#: Raise when slices are kept in another form.
FORMAT = 2
#: Says, beside the slices, what they were made on.
MAKERS = "made_on"


def work_key(volume: Volume, checkpoint: Checkpoint, request: Request) -> str:
    """Digest of all that a result depends on."""
    resolved = request.resolved(checkpoint, volume)
    parts = (
        FORMAT, __version__, volume.digest(), checkpoint.sha256, beside_digest(checkpoint, resolved.three_planes),
        resolved.result_key(),
    )  # fmt: skip
    return hashlib.sha256(repr(parts).encode()).hexdigest()


def kept_key(key: str, head: str) -> str:
    """A key as a record keeps it, with what tells which head was found (:meth:`Unfinished.keep_to`)."""
    return f"{key}-{head[:16]}"


def finished(record: Path, key: str, volume: Volume, *, samples: bool = False, bids: bool = False) -> list[Path] | None:
    """The files of a result that is there already, ``record`` last; None unless it is of the work ``key`` and whole,
    with its ``samples`` where they are wanted."""
    try:
        info: dict[str, Any] = json.loads(record.read_text(encoding="utf-8"))
        if info["key"].partition("-")[0] != key or not info["complete"] or (samples and not info["samples_kept"]):
            return None
        kinds = ["mean", "std", *(["std-calibrated"] if info["sigma_hat_calibrated"] is not None else [])]
        kinds += ["samples"] if info["samples_kept"] else []
        names = [file_name(volume.name, info["target"], kind, bids=bids) for kind in (*kinds, "json")]
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return None
    files = [record.with_name(name) for name in names]
    return files if all(map(holds_something, files)) else None


class Unfinished:
    """Slices of one result, in a hidden folder beside it, each complete under its name.

    Args:
        record: The JSON that the result will have.
        key: Of the work; slices of other work are dropped.
        samples: Keep the samples, too.
        say: Told when nothing can be kept.
    """

    def __init__(
        self, record: Path, key: str, *, samples: bool = False, say: Callable[[str], None] = lambda line: None
    ) -> None:
        start = f".unfinished-{hashlib.sha256(os.fsencode(record.stem)).hexdigest()[:16]}"
        # Of its own work: another run into the same folder, with another model, must not add to it.
        self.folder = record.with_name(f"{start}-{hashlib.sha256(key.encode()).hexdigest()[:8]}")
        self._others = f"{start}*"
        self._key, self._samples, self._say = key, samples, say
        self.head, self._broken = "", False
        self._made_on: Mapping[str, Any] = {}
        self.makers: list[Mapping[str, Any]] = []

    def keep_to(self, head: str, made_on: Mapping[str, Any]) -> None:
        """Say what head was found; slices of another one, found by another tool, are dropped. And what makes more."""
        self.head, self._made_on = head, made_on

    @property
    def _work(self) -> str:
        return f"{self._key} {self._samples} {self.head}"

    def read(self) -> dict[int, SliceUpdate]:
        """Slices by their index; what is damaged is left out."""
        try:
            known = (self.folder / "key").read_text(encoding="utf-8") == self._work
        except (OSError, ValueError):
            known = False
        for other in self.folder.parent.glob(self._others):
            if other != self.folder or not known:
                shutil.rmtree(other, ignore_errors=True)
        self.makers = _makers(self.folder / MAKERS) if known else []
        if not known:
            return {}
        found = (_read(path) for path in sorted(self.folder.glob("slice-*.npz")))
        return {update.index: update for update in found if update is not None}

    def write(self, update: SliceUpdate) -> None:
        """Keep a slice; a disk that takes none costs time later, not the result."""
        known = any(_undated(self._made_on) == _undated(one) for one in self.makers)
        makers = self.makers if known else [*self.makers, self._made_on]
        values = {field.name: getattr(update, field.name) for field in fields(SliceUpdate)}
        values["signs"] = update.signs.to_array()
        if not self._samples:
            values["samples"] = None
        try:
            texts = {"key": self._work, MAKERS: json.dumps(makers)}
            for name, text in texts.items():
                if not (self.folder / name).exists() or (name == MAKERS and not known):
                    write_shared(self.folder / name, lambda file, text=text: file.write(text.encode()))  # type: ignore[misc]
            self.makers = makers
            kept: dict[str, Any] = {name: np.asarray(value) for name, value in values.items() if value is not None}
            write_shared(self.folder / f"slice-{update.index:05}.npz", lambda file: np.savez(file, **kept))
        except OSError as error:
            if not self._broken:  # said once; the next slice is tried again, for a full disk may have room by then
                self._broken = True
                self._say(f"Finished slices cannot be kept in '{self.folder.parent}' ({reason(error)}).")

    @property
    def holds_slices(self) -> bool:
        """Whether any is kept."""
        return any(self.folder.glob("slice-*.npz"))

    def remove(self) -> None:
        """The result is complete; what else was begun for it is of no use."""
        for folder in self.folder.parent.glob(self._others):
            shutil.rmtree(folder, ignore_errors=True)


def _undated(made_on: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in made_on.items() if name != "date"}


def _makers(path: Path) -> list[Mapping[str, Any]]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):  # an earlier version did not write it
        return []
    return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []


def _read(path: Path) -> SliceUpdate | None:
    try:
        with np.load(path, allow_pickle=False) as kept:
            values: dict[str, Any] = {name: kept[name] for name in kept.files}
        signs = Signs.from_array(values.pop("signs"))
        return SliceUpdate(**{
            "median": None, "samples": None,
            **{name: value if value.ndim else value.item() for name, value in values.items()}, "signs": signs,
        })  # fmt: skip
    except Exception:  # whatever a damaged archive brings up: that slice is computed again
        return None

"""Adaptations that a window began: what was asked of each lies beside its state, so that another window can go on.

Each has a folder of its own below one of the user's. What is in it is read without torch.
"""

from __future__ import annotations

import json
import shutil
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from ..errors import MrtransError
from ..paths import adaptation_dir, write_together
from .place import PREPARED, WORK, alone, at_work, record_in

#: What was asked, in the adaptation's folder.
ASKED = "asked.json"
#: Sessions written from images that were open.
SCANS = "scans"
_REMEDY = "Make room or mend its permissions."


@dataclass(frozen=True)
class Begun:
    """An adaptation that a window began.

    Attributes:
        data: Folder of the sessions.
        model: Installed name of the parent.
        family: Of the parent.
        minutes: As asked.
        site: Its name.
        pairs: Those asked for (``T1->T2``); none: all that the sessions have.
        device: As asked.
        began: Seconds since 1970.
        folder: Its own.
    """

    data: Path
    model: str
    family: str
    minutes: float
    site: str
    pairs: tuple[str, ...] = ()
    device: str = "auto"
    began: float = 0.0
    folder: Path = Path()

    @property
    def name(self) -> str:
        """Of the checkpoint."""
        return f"{self.site}-{self.family}"

    def words(self) -> list[str]:
        """Of the command that does it, and goes on with it."""
        words = ["--data", str(self.data), "--model", self.model, "--minutes", f"{self.minutes:g}"]
        words += ["--name", self.site, "--device", self.device, "-o", str(self.folder)]
        return [*words, *(["--pairs", ",".join(self.pairs)] if self.pairs else [])]

    def written(self) -> Begun:
        """It with a folder of its own, in which it lies on disk.

        Raises:
            MrtransError: it cannot be written; no folder is left of it that was not there before.
        """
        new = replace(self, folder=self.folder if self.folder.name else free_folder(self.name), began=time.time())
        begun_before = new.folder.exists()
        document = {name: str(v) if isinstance(v, Path) else v for name, v in asdict(new).items() if name != "folder"}
        try:
            write_together(new.folder, {ASKED: json.dumps(document, indent=1) + "\n"}, _REMEDY)
        except MrtransError:
            if not begun_before:
                shutil.rmtree(new.folder, ignore_errors=True)
            raise
        return new


def free_folder(name: str) -> Path:
    """A folder for an adaptation that makes the checkpoint ``name``, not there yet."""
    root, number = adaptation_dir(), 1
    while (folder := root / (name if number == 1 else f"{name}-{number}")).exists():
        number += 1
    return folder


def not_ended() -> list[Begun]:
    """Those that were begun by a window and have not ended, at work or not, newest first."""
    found = [_read(folder) for folder in adaptation_dir().glob("*") if (folder / ASKED).is_file()]
    return sorted((one for one in found if one is not None), key=lambda one: -one.began)


def unfinished() -> list[Begun]:
    """Those of them that nothing works on."""
    return [one for one in not_ended() if not at_work(one.folder)]


def _read(folder: Path) -> Begun | None:
    try:
        document: dict[str, Any] = json.loads((folder / ASKED).read_text(encoding="utf-8"))
        document |= {"data": Path(document["data"]), "pairs": tuple(document["pairs"])}
        return Begun(**document, folder=folder)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def has_learned(folder: Path) -> bool:
    """Whether there is something to go on with, or to keep: weights, or scans whose preparing took minutes."""
    work = folder / WORK
    return any(work.glob("*/best.safetensors")) or (work / PREPARED).is_dir()


def is_done(folder: Path) -> bool:
    """Whether a result lies in a folder."""
    return bool(record_in(folder).get("done"))


def tidy(folder: Path) -> None:
    """It has ended: only its result stays, and no copy of a scan."""
    (folder / ASKED).unlink(missing_ok=True)
    for part in (SCANS, PREPARED):
        shutil.rmtree(folder / part, ignore_errors=True)


def drop(folder: Path) -> None:
    """Remove all of it.

    Raises:
        MrtransError: it is at work, in another window perhaps.
    """
    if not folder.is_dir():
        return
    with alone(folder):
        (folder / ASKED).unlink(missing_ok=True)
    shutil.rmtree(folder, ignore_errors=True)

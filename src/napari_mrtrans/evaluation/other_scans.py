"""Further unusual scans that a calibration is tried on, as the user names them: KIND=FOLDER."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from ..checkpoints.checkpoint import Checkpoint
from ..datasets.bids import Session
from ..datasets.walk import nifti_files
from ..errors import MrtransError
from ..scan.contrasts import guess_contrast
from .scans import KINDS, LESION, NORMAL, Scan


def read_others(texts: Sequence[str]) -> dict[str, list[Path]]:
    """The NIfTI files of each kind; folders of one kind count together.

    Raises:
        MrtransError: no KIND, a kind that is simulated already, or no files.
    """
    others: dict[str, list[Path]] = {}
    for text in texts:
        kind, _, folder = text.partition("=")
        files = nifti_files(Path(folder)) if folder else []
        if not kind or not folder or not files:
            raise MrtransError(f"--other '{text}' holds no NIfTI files; write it as KIND=FOLDER.")
        if kind in (NORMAL, LESION, *KINDS):
            raise MrtransError(f"--other '{text}': scans of the kind '{kind}' are made already; choose another name.")
        others.setdefault(kind, []).extend(path for path in files if path not in others.get(kind, []))
    return others


def other_scans(
    checkpoint: Checkpoint, others: Mapping[str, Sequence[Path]], say: Callable[[str], None]
) -> Iterator[Scan]:
    """Those whose names tell a contrast that the checkpoint takes; ``say`` is told of the rest.

    They are named by their paths below the folder that holds all of their kind.
    """
    sources = {pair.source for pair in checkpoint.pairs}
    for kind, files in others.items():
        top = os.path.commonpath([path.parent for path in files])
        for path in files:
            contrast = guess_contrast(path.name)
            if contrast is None or contrast not in sources:
                why = f"'{checkpoint.name}' takes no {contrast}" if contrast else "its name does not tell its contrast"
                say(f"left out {path} ({kind}): {why}")
                continue
            name = path.relative_to(top).as_posix()
            yield Scan(Session(name, "", {contrast: path}, None), contrast, kind)

"""PD images computed from the other contrasts of a session, as files, for what reads files."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from ..datasets.bids import Session
from ..errors import MrtransError
from ..paths import write_together
from ..scan.contrasts import Contrast
from ..training.finished import digest


def with_computed_pd(
    sessions: Mapping[str, Session], folder: Path, seed: int, say: Callable[[str], None]
) -> dict[str, Session]:
    """The sessions that have no PD but enough of the other contrasts to compute it, with an image of it.

    Args:
        sessions: By name.
        folder: The images are written there, once.
        seed: Of protocols, relaxation times and noise (:mod:`napari_mrtrans.datasets.computed_pd`).
        say: Told whom none can be computed of.

    Raises:
        MrtransError: the folder cannot be written.
    """
    out = {}
    for name, session in sessions.items():
        asked = replace(session, pd_seed=seed, mask=None)
        if Contrast.PD not in asked.contrasts or Contrast.PD in session.files:
            continue
        stem = f"{name.replace('/', '_')}_{digest({'files': asked.stamp(needed=())})[:8]}"
        path = folder / f"{stem}_PDw.nii.gz"
        if not path.is_file():
            try:
                made = asked.load()[0][Contrast.PD]
            except (MrtransError, ValueError) as error:
                say(f"no PD computed of {name}: {error}")
                continue
            write_together(folder, {path.name: made.image_like(made.data).to_filename})
        out[name] = replace(session, files={**session.files, Contrast.PD: path})
    return out

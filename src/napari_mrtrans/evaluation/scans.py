"""Usual and unusual source scans of a session, and the features of their slices, which no checkpoint changes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..checkpoints.checkpoint import Checkpoint
from ..checkpoints.judge_file import load_judge
from ..checkpoints.pool import members_of
from ..datasets.bids import Session, subject_of
from ..errors import VolumeError
from ..ood.score import FEWEST
from ..ood.slice_quality import NAMES
from ..scan.contrasts import Contrast
from ..scan.framing import STEP
from ..scan.masks import load_mask, read_mask
from ..scan.prepared import PreparedVolume
from ..scan.volume import Volume
from ..training.finished import Finished
from ..transformation.job import SPREAD_OUT, Job, common_step, evenly_spread, in_steps, make_job
from ..transformation.request import ANSWERS, Request
from ..transformation.slice_signs import slice_features
from .ood_inputs import ARTEFACTS, MADE, corrupted

NORMAL, WRONG, LESION = "normal", "wrong contrast", "lesion"
#: Kinds of unusual scans that a calibration is fitted to.
KINDS = (*ARTEFACTS, WRONG)
#: Places in each scan, evenly spread, at each of which the features of so many neighbouring slices are taken as a
#: request for a few slices may ask for.
PLACES, RUN = 4, FEWEST

#: Kinds that each scan of a calibration's subjects gets; all of them would take four times as long.
DRAWN = 2


@dataclass(frozen=True)
class Scan:
    """A source scan, with what is unusual about it.

    Attributes:
        session: Whose.
        source: Contrast that it is said to be.
        kind: ``normal``, one of :data:`KINDS`, ``lesion``, or a name for another unusual scan.
    """

    session: Session
    source: Contrast
    kind: str = NORMAL

    @property
    def possible(self) -> bool:
        """Whether the session holds what this takes."""
        files = self.session.files
        return self.source in files and (self.kind != WRONG or len(files) > 1) and (
            self.kind != LESION or self._marks_something()
        )  # fmt: skip

    def _marks_something(self) -> bool:
        """The expert mask is not that of a healthy person, which is there and empty, nor of other voxels."""
        if self.session.mask is None:
            return False
        try:
            marked = bool(load_mask(self.session.mask)[0].any())
            image = self.session.files[self.source]
            return marked and (not image.is_file() or bool(read_mask(self.session.mask, Volume.load(image)).any()))
        except VolumeError:
            return False

    def stamp(self) -> list[Any]:
        """That of the session; a mask that is not there costs its lesions alone (:attr:`possible`).

        Raises:
            RecipeError: an image is not there any more.
        """
        return self.session.stamp(needed=self.session.files)

    def volume(self, seed: int) -> Volume:
        """The scan; a wrong contrast is drawn from the others of the session."""
        files = self.session.files
        if self.kind == WRONG:
            others = [contrast for contrast in files if contrast != self.source]
            number = np.random.default_rng([seed, *self.session.name.encode(), *self.source.encode()]).integers(
                len(others)
            )
            return replace(Volume.load(files[others[number]]), contrast=self.source)
        volume = Volume.load(files[self.source], self.source)
        return corrupted(volume, self.kind, seed) if self.kind in ARTEFACTS else volume

    def slices(self, prepared: PreparedVolume, count: int) -> range:
        """Along the axial axis: evenly spread or, for lesions, about the slice that holds most of them."""
        volume = prepared.volume
        if self.kind == LESION and self.session.mask:
            marked = read_mask(self.session.mask, volume)
            most = int(marked.sum(axis=tuple(a for a in range(3) if a != volume.axial_axis)).argmax())
            return range(max(0, most - count // 2), min(volume.n_slices, most - count // 2 + count))
        return evenly_spread(prepared, count)


def drawn(name: str, source: Contrast, seed: int, count: int = DRAWN) -> list[str]:
    """The ``count`` of :data:`KINDS` that a session's scan of one contrast gets, in a fixed order."""
    order = np.random.default_rng([seed, *name.encode(), *source.encode()]).permutation(len(KINDS))
    return [KINDS[i] for i in order[:count]]


def person(name: str) -> str:
    """``sub-XX`` of a session's name: one person may be in several data sets, and must not be on both sides."""
    return next((part for part in reversed(name.split("/")) if part.startswith("sub-")), name)


@dataclass(frozen=True)
class _Features:
    slices: list[list[float]]


class FeatureStore:
    """Features of scans, kept in a file: the checkpoints that are calibrated after the first find them there.

    Args:
        path: The file.
        seed: Of the artefacts.
    """

    def __init__(self, path: Path, seed: int) -> None:
        self._finished: Finished[_Features] = Finished(path, _Features)
        self.seed = seed
        self._steps: dict[Path, int] = {}

    def of(self, scan: Scan, checkpoint: Checkpoint, volume: Volume | None = None) -> NDArray[np.float64]:
        """(slices, features) of runs of neighbouring slices on the checkpoint's grid; a lesion's lie about it.

        The networks that judge slices are asked without those that know the person.

        Args:
            scan: Which.
            checkpoint: Any that serves its contrast.
            volume: The scan itself where it is at hand.
        """
        pair = next(pair for pair in checkpoint.pairs if pair.source == scan.source)
        framing = checkpoint.card.framing
        if (step := self._steps.get(checkpoint.path)) is None:
            step = self._steps[checkpoint.path] = _step_of(checkpoint)
        key = {
            "stamp": scan.stamp(),
            "session": scan.session.name,
            "source": scan.source,
            "kind": scan.kind,
            "seed": self.seed,
            "spacing": checkpoint.card.grid.spacing_mm,
            "frame": framing.least,
            **({} if step == STEP else {"step": step}),
            "features": [len(NAMES), PLACES, RUN],
            "spread_out": SPREAD_OUT,
            "answers": ANSWERS,
            "judge": load_judge().digest,
            **MADE.get(scan.kind, {}),
        }

        def measured() -> _Features:
            given = scan.volume(self.seed) if volume is None else volume
            job = make_job(PreparedVolume.of(given), checkpoint, Request(pair.target, pair.source))
            job = in_steps(job, framing, step)
            where = scan.slices(job.prepared, 1 if scan.kind == LESION else PLACES)
            return _Features(np.round(_features(job, where, subject_of(scan.session.name)), 6).tolist())

        return np.asarray(self._finished.row(key, measured).slices, dtype=np.float64)


def _step_of(checkpoint: Checkpoint) -> int:
    """That of the grid on which the engine shows its networks a slice."""
    members = {member.name: member for member in members_of(checkpoint)}
    return common_step(member.build() for member in members.values())


def _features(job: Job, places: range, whose: str) -> NDArray[np.float64]:
    read: dict[int, NDArray[np.float32]] = {}

    def on_grid(index: int) -> NDArray[np.float32]:
        if index not in read:
            read[index] = job.grid.to_model(job.images[index])
        return read[index]

    count, spacing = len(job.mask), job.prepared.spacing[0]
    source = job.request.pair.source
    middles = [min(max(job.orientation.slice_index(i, count), RUN // 2), count - 1 - RUN // 2) for i in places]
    numbers = [middle + k - RUN // 2 for middle in middles for k in range(RUN)]
    return np.stack([slice_features(on_grid, number, count, spacing, source, whose) for number in numbers])

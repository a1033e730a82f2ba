"""What a checkpoint gives for normal and unusual inputs: what a calibration is fitted to and tested on.

As the paper does: in-distribution scans of the calibration subjects beside a balanced draw of unusual inputs, one for
each of them; and, on the test subjects, every kind of unusual input.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from .. import __version__
from ..checkpoint import Checkpoint
from ..contrasts import Contrast, Pair
from ..image_quality import features
from ..job import check_request, spread_slices
from ..streaming import stream
from ..volume import Volume, read_mask
from .data.bids import Session
from .finished import Finished
from .held_out import PairedVolumes
from .ood_inputs import ARTEFACTS, corrupted

NORMAL, WRONG, LESION = "normal", "wrong contrast", "lesion"
#: Kinds that a balanced draw may pick.
KINDS = (*ARTEFACTS, WRONG)
#: Voxels kept of each normal scan with a target, to fit and test the correction of the spread.
VOXELS = 2000

Role = Literal["train", "validation", "test"]


@dataclass(frozen=True)
class Measurement:
    """One input through one checkpoint, on a few slices.

    Attributes:
        pair: ``T1->T2``.
        subject: Whose scan.
        role: Which part of the checkpoint's split the subject is in.
        kind: ``normal``, or what is unusual about it.
        sigma_hat: Over the head voxels of all slices; None for deterministic models.
        per_slice: σ̂ of each slice.
        features: Quality features of each slice, (slices, features).
        std: Standard deviation in some voxels of a normal scan, and ``error``, truth minus mean, in the same ones.
    """

    pair: str
    subject: str
    role: Role
    kind: str
    sigma_hat: float | None
    per_slice: list[float]
    features: list[list[float]]
    std: list[float]
    error: list[float]


@dataclass(frozen=True)
class Settings:
    """How much is measured.

    Attributes:
        n: Samples of each slice.
        slices: Slices of each scan, evenly spread.
        seed: Of the starting noise, the artefacts and the draw of kinds.
        device: As :func:`napari_mrtrans.stream`.
    """

    n: int
    slices: int = 3
    seed: int = 0
    device: str = "auto"


def measure(
    checkpoint: Checkpoint,
    sessions: Mapping[str, Session],
    out: Path,
    settings: Settings,
    *,
    others: Mapping[str, Sequence[Path]] | None = None,
    say: Callable[[str], None] = print,
) -> list[Measurement]:
    """Measure everything; what is in ``out`` already is taken from there.

    Args:
        checkpoint: Its card says who was trained on, who validates and who tests.
        sessions: By name.
        out: Folder; ``measured.jsonl`` is kept there.
        settings: How much.
        others: Further unusual scans, by kind: files whose names tell their contrast.
        say: Told each finished line.
    """
    finished = Finished(out / "measured.jsonl", Measurement)
    common = {"sha256": checkpoint.sha256, "version": __version__, **asdict(settings)}
    common.pop("device")
    rows = []
    for job in [*_planned(checkpoint, sessions, settings.seed), *_others(checkpoint, others or {})]:
        key = {**common, "pair": job.pair.key, "subject": job.subject, "kind": job.kind}
        row = finished.row(key, lambda job=job: job.run(checkpoint, settings))  # type: ignore[misc]
        rows.append(row)
        sigma = "" if row.sigma_hat is None else f"  sigma-hat {row.sigma_hat:.4f}"
        say(f"{row.role:10} {job.pair}  {row.subject:24} {row.kind:14}{sigma}")
    return rows


def _planned(checkpoint: Checkpoint, sessions: Mapping[str, Session], seed: int) -> Iterator[_Input]:
    for role in ("train", "validation", "test"):
        for name in checkpoint.card.splits.get(role, []):
            if name not in sessions:
                continue
            session = sessions[name]
            for number, pair in enumerate(checkpoint.pairs):
                if pair.source not in session.files:
                    continue
                yield _Input(pair, name, role, NORMAL, session)
                rng = np.random.default_rng([seed, number, *name.encode()])
                if role != "test":
                    yield _Input(pair, name, role, str(rng.choice(KINDS)), session)
                elif pair == _first_from(checkpoint, pair.source):
                    kinds = (*KINDS, LESION) if session.mask else KINDS
                    yield from (_Input(pair, name, role, kind, session) for kind in kinds)


def _first_from(checkpoint: Checkpoint, source: Contrast) -> Pair:
    """One pair for each source contrast: what is unusual about an input is so for all its targets."""
    return next(pair for pair in checkpoint.pairs if pair.source == source)


def _others(checkpoint: Checkpoint, others: Mapping[str, Sequence[Path]]) -> Iterator[_Input]:
    sources = {pair.source for pair in checkpoint.pairs}
    for kind, files in others.items():
        for path in files:
            contrast = Volume.load(path).contrast
            if contrast in sources:
                session = Session(path.name, "", {contrast: path}, None)
                yield _Input(_first_from(checkpoint, contrast), path.name, "test", kind, session)


@dataclass(frozen=True)
class _Input:
    """One scan to be measured."""

    pair: Pair
    subject: str
    role: Role
    kind: str
    session: Session

    def volume(self, seed: int) -> Volume:
        """The scan, with what is unusual about it."""
        files = self.session.files
        if self.kind == WRONG:
            other = next((c for c in files if c not in (self.pair.source, self.pair.target)), self.pair.target)
            return replace(Volume.load(files[other]), contrast=self.pair.source)
        volume = Volume.load(files[self.pair.source], self.pair.source)
        return corrupted(volume, self.kind, seed) if self.kind in ARTEFACTS else volume

    def run(self, checkpoint: Checkpoint, settings: Settings) -> Measurement:
        """Sample a few slices and gather what a calibration needs."""
        volume = self.volume(settings.seed)
        wanted = self._slices(volume, checkpoint, settings.slices)
        updates = stream(
            volume, checkpoint, target=self.pair.target, n=settings.n, seed=settings.seed, slices=wanted,
            device=settings.device, prepare=False,
        )  # fmt: skip
        known = [u for u in updates if np.isfinite(u.sigma_hat)]
        voxels = sum(u.voxels for u in known)
        std: list[float] = []
        error: list[float] = []
        if self.kind == NORMAL and known and self.pair.target in self.session.files:
            std, error = self._errors(known, volume.axial_axis, settings.seed)
        return Measurement(
            pair=self.pair.key,
            subject=self.subject,
            role=self.role,
            kind=self.kind,
            sigma_hat=sum(u.sigma_hat * u.voxels for u in known) / voxels if voxels else None,
            per_slice=[u.sigma_hat for u in known],
            features=source_features(volume, checkpoint, self.pair, wanted).tolist(),
            std=std,
            error=error,
        )

    def _slices(self, volume: Volume, checkpoint: Checkpoint, count: int) -> range:
        """Along the axial axis: evenly spread or, for lesions, about the slice that holds most of them."""
        if self.kind == LESION and self.session.mask:
            marked = read_mask(self.session.mask, volume)
            most = int(marked.sum(axis=tuple(a for a in range(3) if a != volume.axial_axis)).argmax())
            return range(max(0, most - count // 2), min(volume.n_slices, most - count // 2 + count))
        return spread_slices(volume, checkpoint, self.pair, count)

    def _errors(self, updates: list, axis: int, seed: int) -> tuple[list[float], list[float]]:
        paired = PairedVolumes.open(self.session, self.pair)
        std: list[NDArray[np.float32]] = []
        error: list[NDArray[np.float32]] = []
        for u in updates:
            where = tuple(u.index if a == axis else slice(None) for a in range(3))
            inside = paired.both[where]
            std.append(u.std[inside])
            error.append((paired.target[where] - u.mean)[inside])
        values = np.stack([np.concatenate(std), np.concatenate(error)])
        picked = np.random.default_rng(seed).permutation(values.shape[1])[:VOXELS]
        first, second = (np.round(part[picked].astype(float), 4).tolist() for part in values)
        return first, second


def source_features(volume: Volume, checkpoint: Checkpoint, pair: Pair, slices: range) -> NDArray[np.float64]:
    """Quality features of these axial slices, (slices, features)."""
    job = check_request(volume, checkpoint, pair.target, pair.source)
    images = (job.images[job.orientation.slice_index(index, len(job.mask))] for index in slices)
    return np.stack([features(job.grid.to_model(image)) for image in images])

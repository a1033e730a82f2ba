"""What a checkpoint gives for normal and unusual inputs: what a calibration is fitted to and tested on.

Samples are dear, and what they cost buys most on the validation and test subjects, where the width of the errors
counts. Of the others σ̂ is wanted, a mean over thousands of voxels, and at which intensities the errors are larger, for
which a few samples do. As in the paper, unusual inputs stand beside the usual ones: one for each scan that the
calibration is fitted to, and every kind on the test subjects.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

from .. import __version__
from ..checkpoints.card_text import adapted_to
from ..checkpoints.checkpoint import Checkpoint
from ..checkpoints.correction import BLUR_MM, Voxels
from ..checkpoints.pool import whole_round
from ..datasets.bids import Session
from ..ood.score import std_bias
from ..scan.contrasts import Pair
from ..scan.prepared import PreparedVolume
from ..training.finished import Finished
from ..transformation.job import SPREAD_OUT, make_job
from ..transformation.request import ANSWERS, Request
from ..transformation.streaming import Hooks, SliceUpdate, run_job
from .held_out import PairedVolumes, known_to_parents
from .ood_inputs import MADE
from .other_scans import other_scans
from .scans import KINDS, LESION, NORMAL, Scan, drawn

#: Samples of each slice where σ̂ is wanted, or the errors of people whom the network knows.
FEW = 6
#: Voxels kept of each normal scan with a target, to fit and test the correction of the spread.
VOXELS = 2000

Role = Literal["train", "validation", "test"]
ROLES: tuple[Role, ...] = ("train", "validation", "test")


@dataclass(frozen=True)
class Measurement:
    """One input through one checkpoint, on a few slices.

    Attributes:
        pair: ``T1->T2``.
        subject: Whose scan.
        role: Which part of the checkpoint's split the subject is in (:func:`roles`).
        kind: ``normal``, or what is unusual about it.
        sigma_hat: Over the head voxels of all slices, as ``n`` samples have it; None for deterministic models.
        per_slice: σ̂ of each slice.
        kept: :class:`~napari_mrtrans.checkpoints.correction.Voxels` of a normal scan, some of them, with the spread
            that ``n`` samples have; empty where there are none.
    """

    pair: str
    subject: str
    role: Role
    kind: str
    sigma_hat: float | None
    per_slice: list[float]
    kept: dict[str, list[float]]

    @property
    def answered(self) -> Voxels:
        """What was kept."""
        return Voxels.read(self.kept)


@dataclass(frozen=True)
class Settings:
    """How much is measured.

    Attributes:
        n: Samples of each slice; at most :func:`few_of` of unusual scans and of training people.
        slices: Slices of each scan, evenly spread.
        seed: Of the starting noise, the artefacts and the draw of kinds.
        device: As :func:`napari_mrtrans.stream`.
        sampling: False: no σ̂ and no errors, as of a deterministic checkpoint.
        computed_pd: Pairs with PD that nobody's images were acquired of get a correction of the spread, too, on PD
            computed from the other contrasts; what it is worth for an acquired PD is not known.
    """

    n: int
    slices: int = 3
    seed: int = 0
    device: str = "auto"
    sampling: bool = True
    computed_pd: bool = False


def measure(
    checkpoint: Checkpoint,
    sessions: Mapping[str, Session],
    out: Path,
    settings: Settings,
    *,
    others: Mapping[str, Sequence[Path]] | None = None,
    only: Callable[[Input], bool] = lambda _: True,
    say: Callable[[str], None] = print,
) -> list[tuple[Input, Measurement]]:
    """Measure everything; what is in ``out`` already is taken from there.

    Args:
        checkpoint: Its card says who was trained on, who validates and who tests.
        sessions: By name.
        out: Folder; ``measured.jsonl`` is kept there.
        settings: How much.
        others: Further unusual scans, by kind: files whose names tell their contrast.
        only: What is measured of it.
        say: Told each finished line.
    """
    finished = Finished(out / "measured.jsonl", Measurement)
    common = {
        "sha256": checkpoint.sha256,
        "version": __version__,
        "answers": ANSWERS,
        "spread_out": SPREAD_OUT,
        **asdict(settings),
    }
    del common["device"], common["computed_pd"]
    first = {pair.source: pair for pair in reversed(checkpoint.pairs)}
    unusual = other_scans(checkpoint, others or {}, say)
    further = [Input(first[scan.source], scan.session.name, "test", scan) for scan in unusual]
    rows = []
    for job in [*planned(checkpoint, sessions, settings.seed), *further]:
        if not only(job):
            continue
        key = {
            **common,
            "pair": job.pair.key,
            "subject": job.subject,
            "kind": job.scan.kind,
            "few": few_of(checkpoint),
            "blur_mm": BLUR_MM,
            **MADE.get(job.scan.kind, {}),
        }
        key["files"] = job.scan.stamp()
        row = finished.row(key, lambda job=job: job.run(checkpoint, settings))  # type: ignore[misc]
        row = replace(row, role=job.role)  # as it is now, whenever it was measured
        rows.append((job, row))
        sigma = "" if row.sigma_hat is None else f"  sigma-hat {row.sigma_hat:.4f}"
        say(f"{row.role:10} {job.pair}  {row.subject:24} {row.kind:14}{sigma}")
    return rows


def planned(checkpoint: Checkpoint, sessions: Mapping[str, Session], seed: int) -> Iterator[Input]:
    """What is measured of the subjects of the card: every pair of usual scans, unusual ones for one pair a source."""
    first = {pair.source: pair for pair in reversed(checkpoint.pairs)}
    for name, role in roles(checkpoint, sessions).items():
        session = sessions[name]
        for pair in checkpoint.pairs:
            if pair.source in session.files:
                yield Input(pair, name, role, Scan(session, pair.source))
        for source, pair in first.items():
            kinds = (*KINDS, LESION) if role == "test" else drawn(name, source, seed, 1)
            scans = (Scan(session, source, kind) for kind in kinds)
            yield from (Input(pair, name, role, scan) for scan in scans if scan.possible)


def roles(checkpoint: Checkpoint, sessions: Collection[str]) -> dict[str, Role]:
    """The part of each of these sessions (of :func:`.sessions_of`: other people may be called so, too) that is in the
    card's splits, training ones first.

    People whom what its training started from has learned from are training subjects, wherever they are kept out now.
    """
    found: dict[str, Role] = {}
    for part in ROLES:
        known = known_to_parents([checkpoint], part)
        for name in checkpoint.card.splits.get(part, []):
            if name in sessions:
                found.setdefault(name, "train" if name in known else part)
    return dict(sorted(found.items(), key=lambda item: ROLES.index(item[1])))


def doubts(checkpoint: Checkpoint, sessions: Collection[str]) -> list[str]:
    """Lines on those whom the card keeps out and who may have been learned from."""
    splits, found = checkpoint.card.splits, roles(checkpoint, sessions)
    moved = [name for name, role in found.items() if role == "train" and name not in splits.get("train", [])]
    lines = [f"{name}: kept out, but what '{checkpoint.name}' started from was trained on it." for name in moved]
    if checkpoint.card.unnamed:
        lines.append(
            f"'{checkpoint.name}' {adapted_to(checkpoint.card)}, whom its card does not name: if any of them are kept "
            "out here, the calibration takes it for better than it is."
        )
    return lines


def few_of(checkpoint: Checkpoint) -> int:
    """Samples of each slice where :data:`FEW` do; of a pool a whole round of its turns, for its members differ."""
    return FEW if (count := whole_round(checkpoint)) == 1 else count


@dataclass(frozen=True)
class Input:
    """One scan to be measured."""

    pair: Pair
    subject: str
    role: Role
    scan: Scan

    @property
    def has_target(self) -> bool:
        """Whether errors can be measured: a scan as it is, with its target."""
        return self.scan.kind == NORMAL and self.pair.target in self.scan.session.files

    def run(self, checkpoint: Checkpoint, settings: Settings) -> Measurement:
        """Sample a few slices and gather what a calibration needs."""
        errors = self.has_target
        n = settings.n if errors and self.role != "train" else min(settings.n, few_of(checkpoint))
        known, axis = [], 0
        if settings.sampling and not checkpoint.deterministic:
            volume = self.scan.volume(settings.seed)
            axis = volume.axial_axis
            prepared = PreparedVolume.of(volume)
            asked = Request(
                self.pair.target, self.pair.source, n=n, seed=settings.seed, device=settings.device,
                slices=self.scan.slices(prepared, settings.slices),
            )  # fmt: skip
            updates = run_job(make_job(prepared, checkpoint, asked), checkpoint, Hooks())
            known = [u for u in updates if np.isfinite(u.sigma_hat)]
        voxels = sum(u.voxels for u in known)
        factor = std_bias(settings.n) / std_bias(n) if n > 1 else 1.0
        kept = {}
        if errors and known:
            kept = self._answered(known, axis).lists(np.random.default_rng(settings.seed), VOXELS, factor)
        return Measurement(
            pair=self.pair.key,
            subject=self.subject,
            role=self.role,
            kind=self.scan.kind,
            sigma_hat=factor * sum(u.sigma_hat * u.voxels for u in known) / voxels if voxels else None,
            per_slice=[factor * u.sigma_hat for u in known],
            kept=kept,
        )

    def _answered(self, updates: list[SliceUpdate], axis: int) -> Voxels:
        paired = PairedVolumes.open(self.scan.session, self.pair)
        across = [float(size) for a, size in enumerate(paired.volume.voxel_sizes) if a != axis]
        parts = []
        for u in updates:
            where = tuple(u.index if a == axis else slice(None) for a in range(3))
            heads = paired.head[where], paired.both[where]
            slices = u.std, u.mean, paired.source[where], paired.target[where]
            parts.append(Voxels.of_slice(*slices, heads, (across[0], across[1])))
        return Voxels.joined(parts)

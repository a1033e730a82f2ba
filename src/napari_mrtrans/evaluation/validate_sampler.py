"""A fast sampler against the model's slow reference on held-out subjects: is its spread right?

Every chosen slice is sampled three times: R1 and R2 by the reference from different noise, F by the fast sampler from
the noise of R2. Two deterministic samplers then differ by nothing but the sampler; a stochastic one forgets where it
started, and F is as far from R2 as R1 is. Each slice has noise of its own, unlike in a transformation, so that chance
averages out over the slices. The statistics are those of :mod:`.slice_spread` and :mod:`.spread`.
"""

from __future__ import annotations

import time
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from .. import __version__
from ..checkpoints.checkpoint import Checkpoint
from ..checkpoints.library import does_not_serve_line
from ..datasets.bids import Session
from ..devices import describe_machine
from ..errors import CheckpointError, MrtransError, VolumeError
from ..paths import check_folder
from ..scan.contrasts import Pair
from ..scan.volume import Volume
from ..transformation.engine import MAX_HELD
from ..transformation.streaming import stream
from . import slice_spread, spread
from .held_out import NotMeasured, PairedVolumes, held_out_sessions
from .validate_report import verdict, write_report

if TYPE_CHECKING:
    import torch

    from ..models import Model


#: So many of a slice are held at once, three times.
MOST_SAMPLES = 1000


@dataclass(frozen=True)
class _Shortened(Checkpoint):
    """The same checkpoint with another number of steps in its reference sampler, on the model's own noise levels."""

    reference_steps: int = 0

    def build(self, device: torch.device | str = "cpu") -> Model:
        model = super().build(device)
        levels = model.own_levels(self.reference_steps)
        if levels is not None and len(levels) != self.reference_steps:
            raise MrtransError(f"'{self.name}' has {model.reference[1]} noise levels; lower --reference-steps.")
        model.reference = (model.reference[0], self.reference_steps)
        return model


@dataclass(frozen=True)
class _Case:
    """A session and pair; arrays on the source's grid, the axial axis first."""

    name: str
    pair: Pair
    volume: Volume
    target: NDArray[np.float32]
    inside: NDArray[np.bool_]
    shared: NDArray[np.bool_]
    lacks: str

    @classmethod
    def open(cls, session: Session, pair: Pair) -> _Case:
        opened = PairedVolumes.open(session, pair)
        volume = opened.volume
        target = np.moveaxis(opened.target, volume.axial_axis, 0)
        inside, shared = (np.moveaxis(mask, volume.axial_axis, 0) for mask in (opened.head, opened.both))
        return cls(f"{pair} {session.name}", pair, volume, target, inside, shared, opened.lacks)


@dataclass(frozen=True)
class Settings:
    """Which sampler is measured, on whom, and how much.

    Attributes:
        sampler: The fast sampler; None = the card's default.
        steps: Its noise levels, at least 1; None = the card's default.
        reference_steps: Of the reference, at least 1; None = the model's own number.
        pairs: Restrict to these; None = all that the checkpoint serves.
        subjects: These, or visits of them (must not be training subjects); None = the card's test subjects that are in
            the data folder and unknown to what the checkpoint started from.
        n: Samples in each of the three sets; 2 to :data:`MOST_SAMPLES`.
        slices_per_subject: See :func:`thick_slices`; at least 1.
        seed: Of all noise; at least 0.
        device: As :func:`napari_mrtrans.stream`.
    """

    sampler: str | None = None
    steps: int | None = None
    reference_steps: int | None = None
    pairs: Sequence[Pair] | None = None
    subjects: Sequence[str] | None = None
    n: int = 20
    slices_per_subject: int = 6
    seed: int = 0
    device: str = "auto"


@dataclass(frozen=True)
class _Drawer:
    """What draws samples: a checkpoint, a sampler and its noise levels; those of ``reference`` are the model's own."""

    checkpoint: Checkpoint
    sampler: str
    steps: int


def validate_sampler(
    root: Path, checkpoint: Checkpoint, out: Path, settings: Settings, *, say: Callable[[str], None] = print
) -> list[Path]:
    """Measure a sampler's spread; writes ``validate-sampler.json``, ``.md`` and ``.png`` into ``out``.

    Args:
        root: Data folder that holds the folders or subjects the card names.
        checkpoint: Of a family with a sampler.
        out: Output folder.
        settings: Which sampler, on whom, and how much.
        say: Told every finished slice, and the verdict.

    Returns:
        The files written.

    Raises:
        MrtransError: the checkpoint has no sampler, a subject was trained on or is missing, or nothing is left or can
            be measured.
    """
    defaults = checkpoint.card.sampler
    fast = _Drawer(
        checkpoint, settings.sampler or defaults.name, defaults.steps if settings.steps is None else settings.steps
    )
    wanted = list(dict.fromkeys(settings.pairs or checkpoint.pairs))
    _check(fast, wanted, settings)
    check_folder(out)
    machine = describe_machine(settings.device)
    shortened = checkpoint
    if settings.reference_steps is not None:
        shortened = _Shortened(checkpoint.path, checkpoint.card, settings.reference_steps)
    sessions, told = held_out_sessions(root, checkpoint, settings.subjects)
    cases = [(session, p) for p in wanted for session in sessions if {p.source, p.target} <= session.files.keys()]
    if not cases:
        raise MrtransError("Nothing to validate on: no subject has both contrasts of a pair.")
    own, reference = checkpoint.build().reference, shortened.build().reference
    slow = _Drawer(shortened, "reference", reference[1])
    notices: list[str] = []

    def note(line: str) -> None:
        if line not in notices:
            notices.append(line)
            say(line)

    for line in told:
        note(line)
    if reference[1] < own[1]:
        note(f"The reference has {reference[1]} steps instead of the model's {own[1]}; it may be wrong itself.")
    found: list[slice_spread.SliceSpread] = []
    seconds: list[tuple[float, float]] = []
    measured: list[str] = []
    for session, pair in cases:
        try:
            case = _Case.open(session, pair)
        except (NotMeasured, VolumeError) as error:  # of one: the others tell as much
            note(f"Left out: {pair} {session.name}: {error}")
            continue
        measured.append(session.name)
        if case.lacks:
            note(case.lacks)
        for index in thick_slices(case.inside, settings.slices_per_subject):
            first, slow_first = _draw(case, index, slow, 1, settings, note)
            second, slow_second = _draw(case, index, slow, 2, settings, note)
            third, quick = _draw(case, index, fast, 2, settings, note)
            here = (case.inside[index], case.target[index], case.shared[index])
            found.append(slice_spread.measure(case.name, index, (first, second, third), *here))
            seconds.append((quick, (slow_first + slow_second) / 2))
            say(_line(found[-1], *seconds[-1]))
    if not found:
        raise MrtransError(f"Nothing could be measured. {notices[-1]}")
    quick, slowly = (round(float(np.mean(column)), 4) for column in zip(*seconds, strict=True))
    name, levels = own if fast.sampler == "reference" else (fast.sampler, fast.steps)
    report = {
        **spread.summary(found, settings.seed),
        "checkpoint": checkpoint.name,
        "sha256": checkpoint.sha256,
        "model": checkpoint.card.model,
        "fast": {"sampler": name, "steps": levels, "seconds_per_slice": quick},
        "reference": {
            "sampler": reference[0],
            "steps": reference[1],
            "own_steps": own[1],
            "seconds_per_slice": slowly,
        },
        "n": settings.n,
        "seed": settings.seed,
        "pairs": [str(pair) for pair in wanted],
        "subjects": list(dict.fromkeys(measured)),
        "notices": notices,
        "napari_mrtrans": __version__,
        "date": date.today().isoformat(),
        "machine": machine,
    }
    for line in verdict(report):
        say(line)
    return write_report(out, report)


def thick_slices(inside: NDArray[np.bool_], count: int) -> list[int]:
    """``count`` slices (or all there are) evenly spread over those with at least half the largest one's head area.

    Args:
        inside: Head, (slices, H, W).
        count: At least 1.
    """
    area = inside.sum(axis=(1, 2))
    thick = np.flatnonzero(area >= area.max() / 2)
    return sorted({int(thick[int((i + 0.5) * len(thick) / count)]) for i in range(count)})


def _check(fast: _Drawer, pairs: Sequence[Pair], settings: Settings) -> None:
    from ..models.sampler_plan import check_sampler, notice_of

    checkpoint = fast.checkpoint
    if checkpoint.single_pass:
        kind = checkpoint.card.model
        raise MrtransError(
            f"'{checkpoint.name}' is a {kind} model, which has no sampler: there is nothing to validate."
        )
    check_sampler(fast.sampler)
    if not 2 <= settings.n <= MOST_SAMPLES or fast.steps < 1 or settings.slices_per_subject < 1 or settings.seed < 0:
        most = f"at least 2 and at most {MOST_SAMPLES}"
        raise MrtransError(f"Samples must be {most}, steps and slices at least 1, and the seed at least 0.")
    levels = checkpoint.card.sampler
    notice_of(fast.sampler, fast.steps, levels.sigma_min, levels.sigma_max)  # one that diverges, before any work
    for pair in pairs:
        if pair not in checkpoint.pairs:
            raise CheckpointError(does_not_serve_line(checkpoint, pair))


def _draw(
    case: _Case, index: int, drawer: _Drawer, noise: int, settings: Settings, note: Callable[[str], None]
) -> tuple[NDArray[np.float32], float]:
    """(n, H, W) samples of one slice, and the seconds that they took; sets of the same ``noise`` start alike."""
    parts, seconds = [], 0.0
    # Reading the checkpoint and the volume, before the first network call, is not the sampler's time.
    calls: list[float] = []
    for first in range(0, settings.n, MAX_HELD):
        entropy = [settings.seed, noise, zlib.crc32(f"{case.name} {index}".encode()), first]
        [update] = stream(
            case.volume,
            drawer.checkpoint,
            target=case.pair.target,
            source=case.pair.source,
            n=min(MAX_HELD, settings.n - first),
            seed=int(np.random.SeedSequence(entropy).generate_state(1)[0]),
            slices=(index, index + 1),
            steps=drawer.steps,
            sampler=drawer.sampler,
            device=settings.device,
            prepare=False,
            status=note,
            on_step=lambda *_: calls.append(time.perf_counter()),
        )
        assert update.samples is not None
        seconds += time.perf_counter() - calls[0]
        calls.clear()
        parts.append(update.samples)
    return np.concatenate(parts), seconds


def _line(one: slice_spread.SliceSpread, quick: float, slowly: float) -> str:
    std = one.std.mean(axis=1)
    return (
        f"{one.volume:34} slice {one.index:3}  sigma-hat {std[2]:.4f}, reference {std[1]:.4f} and {std[0]:.4f}  "
        f"{quick:.2f} and {slowly:.2f} s"
    )

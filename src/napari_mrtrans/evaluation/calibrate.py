"""Fit a checkpoint's calibration: the correction of its spread, and what turns its scores into P(OOD).

Fitted to training and validation subjects (the width of the spread to validation subjects alone, for the network has
seen the others' targets; at which intensities it is wider, to both), tested on the test subjects, whom neither the
network nor the calibration has seen.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..checkpoints.calibration import Calibration
from ..checkpoints.checkpoint import Checkpoint, write_calibration
from ..checkpoints.correction import SpreadCorrection
from ..checkpoints.judge_file import load_judge
from ..datasets.bids import Session
from ..devices import describe_machine
from ..errors import MrtransError, VolumeError
from ..ood.score import FEWEST, OodCalibration
from ..ood.signs import Looks
from ..paths import check_folder, write_together
from ..scan.contrasts import Contrast, Pair
from ..scan.volume import Volume
from .calibrate_report import COMPUTED_PD, coverage_lines, spread_summary, summary
from .fit_ood import FOLDS, Image, Sigma, fit_ood, sigma_ranges
from .fit_spread import coverage, fit_spread
from .held_out import elsewhere, sessions_of
from .ood_study import ROLES, Measurement, Settings, doubts, measure, planned, roles
from .pd_images import with_computed_pd
from .report.ood_rows import OodRow, to_json
from .scans import NORMAL, FeatureStore, Scan, drawn, person

#: The file beside the reports in which the checkpoints calibrated later find the features of the scans.
FEATURES = "features.jsonl"


def calibrate(
    root: Path,
    checkpoint: Checkpoint,
    out: Path,
    settings: Settings | None = None,
    *,
    others: Mapping[str, Sequence[Path]] | None = None,
    say: Callable[[str], None] = print,
) -> list[Path]:
    """Measure, fit, test; writes ``NAME.calibration.json`` and what it is worth, ``NAME.ood.json`` (rows),
    ``NAME.ood.md`` and ``NAME.spread.md``, into ``out``.

    What was measured is kept in ``out`` as it comes: what was stopped goes on where it was.

    Args:
        root: Data folder that holds the subjects of the card's splits.
        checkpoint: Any family; a deterministic one gets no correction of the spread and no σ̂.
        out: Output folder.
        settings: How much is measured; None = as many samples as the card says. Without ``sampling`` the source image
            alone is judged; the correction of the spread and the range of σ̂ stay as they are, if there are any.
        others: Further unusual scans for the test, by kind.
        say: Told progress.

    Returns:
        The files written.

    Raises:
        MrtransError: too few subjects of the card are in the data folder, or the folder cannot be written.
    """
    check_folder(out)
    sessions = _readable(checkpoint, sessions_of(root, checkpoint, *ROLES), say)
    part_of = roles(checkpoint, sessions)
    people = [name for name, role in part_of.items() if role != "test"]
    sources = {pair.source for pair in checkpoint.pairs}
    if (count := len({person(name) for name in people if sources & sessions[name].files.keys()})) < FOLDS:
        raise MrtransError(
            f"Calibration needs at least {FOLDS} of the subjects that '{checkpoint.name}' was trained or validated on; "
            f"'{root}' holds {count}. Give the folder it was trained on.{elsewhere(checkpoint, root)}"
        )
    settings = settings or Settings(checkpoint.card.sampler.n)
    for line in doubts(checkpoint, sessions):
        say(line)
    if settings.sampling and not checkpoint.deterministic and not _has_validation(checkpoint, sessions, settings.seed):
        say(f"{_no_validation(root, checkpoint)} Its spread will not be corrected.")
    store = FeatureStore(out / FEATURES, settings.seed)
    images = list(image_features(checkpoint, {name: sessions[name] for name in people}, store, say))
    measured = measure(checkpoint, sessions, out / checkpoint.name, settings, others=others, say=say)
    rows = [row for _, row in measured]
    of = {(image.subject, image.source, image.kind): image for image in images}
    sigmas = [
        Sigma(of[key], row.pair, _number(row.sigma_hat), np.asarray(row.per_slice), seen=row.role == "train")
        for row in rows
        if row.role != "test" and (key := (row.subject, Pair.parse(row.pair).source, row.kind)) in of
    ]
    card = load_judge().card
    looks = Looks(contrasts=card.contrasts, kinds=card.kinds)
    say("novelty and artefacts, person by person")
    ood, cross_validated = fit_ood(images, sigmas, settings.n, looks, say)
    acquired = fit_spread(rows)
    spread, of_pd = _with_pd(checkpoint, sessions, out, settings, acquired, say)
    how = _how(settings)
    about = {
        **how,
        **of_pd,
        "subjects": {part: [name for name, role in part_of.items() if role == part] for part in checkpoint.card.splits},
        "cross_validated": cross_validated,
    }
    test = [(job, row) for job, row in measured if row.role == "test"]
    judged = [judge(row, store.of(job.scan, checkpoint), checkpoint.name, ood, settings.n) for job, row in test]
    about["coverage"] = coverage([row for _, row in test], acquired)
    if not settings.sampling and (known := checkpoint.calibration_in(out) or checkpoint.calibration) is not None:
        spread = known.spread
        ood = ood.model_copy(update={"n": known.ood.n, "ranges": known.ood.ranges} if known.ood else {})
        then = known.about.get("spread") or {name: known.about[name] for name in how if name in known.about}
        about |= {"coverage": known.about.get("coverage", []), "spread": then}
        about |= {name: known.about[name] for name in [COMPUTED_PD] if name in known.about}
    calibration = Calibration(card=checkpoint.card_digest, spread=spread, ood=ood, about=about)
    files = {
        f"{checkpoint.name}.ood.json": to_json(judged),
        f"{checkpoint.name}.ood.md": summary(checkpoint, judged, calibration),
        **_spread_file(checkpoint.name, calibration),
    }
    return [write_calibration(checkpoint, calibration, out), *write_together(out, files)]


def _spread_file(name: str, calibration: Calibration) -> dict[str, str]:
    """Its name and text, if there is anything to say."""
    text = spread_summary(name, calibration)
    return {f"{name}.spread.md": text} if text else {}


def calibrate_spread(
    root: Path,
    checkpoint: Checkpoint,
    out: Path,
    settings: Settings | None = None,
    *,
    say: Callable[[str], None] = print,
) -> list[Path]:
    """Fit the correction of the spread and the range of usual σ̂ anew and keep P(OOD); arguments, files kept in ``out``
    and errors as of :func:`calibrate`.

    Raises:
        MrtransError: the checkpoint has no calibration, does not sample, or no validation subject is there.
    """
    known = checkpoint.calibration_in(out) or checkpoint.calibration
    if checkpoint.deterministic or known is None:
        lacks = "gives one answer, which has no spread" if checkpoint.deterministic else "has no calibration yet"
        raise MrtransError(f"'{checkpoint.name}' {lacks}; leave out --spread-only.")
    check_folder(out)
    sessions = _readable(checkpoint, sessions_of(root, checkpoint, *ROLES), say)
    settings = settings or Settings(checkpoint.card.sampler.n)
    for line in doubts(checkpoint, sessions):
        say(line)
    kept = out / checkpoint.name
    rows = [row for _, row in measure(checkpoint, sessions, kept, settings, only=lambda job: job.has_target, say=say)]
    spread = fit_spread(rows)
    if not spread:
        raise MrtransError(_no_validation(root, checkpoint))
    found = coverage([row for row in rows if row.role == "test"], spread)
    for line in coverage_lines(found) if found else ():
        say(line)
    spread, of_pd = _with_pd(checkpoint, sessions, out, settings, spread, say)
    before = {name: value for name, value in known.about.items() if name != COMPUTED_PD}
    about = {**before, "coverage": found, "spread": _how(settings), **of_pd}
    ood = known.ood and _with_ranges(known.ood, rows, settings.n)
    calibration = known.model_copy(update={"spread": spread, "ood": ood, "about": about})
    files = _spread_file(checkpoint.name, calibration)
    return [write_calibration(checkpoint, calibration, out), *write_together(out, files)]


def _with_pd(
    checkpoint: Checkpoint,
    sessions: Mapping[str, Session],
    out: Path,
    settings: Settings,
    spread: dict[str, SpreadCorrection],
    say: Callable[[str], None],
) -> tuple[dict[str, SpreadCorrection], dict[str, Any]]:
    """With the pairs of computed PD, where they are asked for; and what their intervals hold. All others stay."""
    lacking = {pair for pair in checkpoint.pairs if Contrast.PD in pair and pair.key not in spread}
    if checkpoint.deterministic or not settings.sampling:
        return spread, {}
    if not settings.computed_pd or not lacking:
        if settings.computed_pd:
            say("No pair with PD is left to correct on computed images.")
        elif lost := sorted(pair.key for pair in lacking if pair.key in checkpoint.spread):
            say(f"The correction of {', '.join(lost)} goes: it was of computed images. --computed-pd keeps it.")
        return spread, {}
    there = with_computed_pd(sessions, out / "computed-pd", settings.seed, say)
    rows = [
        row
        for _, row in measure(
            checkpoint, there, out / checkpoint.name, settings,
            only=lambda job: job.has_target and job.pair in lacking, say=say,
        )
    ]  # fmt: skip
    of_pd = fit_spread(rows)
    if not of_pd:
        say("No PD is computed of any validation subject, so the spread of pairs with PD will not be corrected.")
    of_pd = {pair: one.model_copy(update={"computed": True}) for pair, one in of_pd.items()}
    return spread | of_pd, {COMPUTED_PD: coverage([row for row in rows if row.role == "test"], of_pd)}


def _readable(
    checkpoint: Checkpoint, sessions: Mapping[str, Session], say: Callable[[str], None]
) -> dict[str, Session]:
    """The sessions of the card's subjects without the images that are gone or damaged, each of which is told.

    All voxels are read: found later, a damaged image would cost what was computed before.
    """
    out = {}
    for name in roles(checkpoint, sessions):
        files = {}
        for contrast, path in sessions[name].files.items():
            try:
                Volume.load(path, contrast)
            except VolumeError as error:
                say(f"left out {contrast} of {name}: {error}")
            else:
                files[contrast] = path
        if files:
            out[name] = replace(sessions[name], files=files)
    return out


def _has_validation(checkpoint: Checkpoint, sessions: Mapping[str, Session], seed: int) -> bool:
    return any(job.role == "validation" and job.has_target for job in planned(checkpoint, sessions, seed))


def _no_validation(root: Path, checkpoint: Checkpoint) -> str:
    none = f"'{root}' holds no scans of validation subjects of '{checkpoint.name}' with their targets."
    return none + elsewhere(checkpoint, root)


def _with_ranges(ood: OodCalibration, rows: Sequence[Measurement], n: int) -> OodCalibration:
    """With the ranges of σ̂ of these usual scans, unless P(OOD) rests on those that it has."""
    if not ood.of_image:
        return ood
    known = ((row.pair, _number(row.sigma_hat)) for row in rows if row.role != "test")
    found = sigma_ranges((pair, sigma_hat) for pair, sigma_hat in known if np.isfinite(sigma_hat))
    return ood.model_copy(update={"n": n, "ranges": (ood.ranges if ood.n == n else {}) | found})


def _how(settings: Settings) -> dict[str, Any]:
    """When, where and with how much it was measured."""
    return {
        "date": date.today().isoformat(),
        "machine": describe_machine(settings.device),
        "n": settings.n,
        "slices": settings.slices,
        "seed": settings.seed,
    }


def image_features(
    checkpoint: Checkpoint, sessions: Mapping[str, Session], store: FeatureStore, say: Callable[[str], None] = print
) -> Iterator[Image]:
    """The features of these sessions' scans as they are, and of some unusual ones, in every source contrast."""
    for name, session in sessions.items():
        say(f"quality features of {name}")
        for source in dict.fromkeys(pair.source for pair in checkpoint.pairs):
            for kind in (NORMAL, *drawn(name, source, store.seed)):
                scan = Scan(session, source, kind)
                if scan.possible:
                    yield Image(name, source, kind, store.of(scan, checkpoint))


def judge(row: Measurement, features: NDArray[np.float64], name: str, ood: OodCalibration, n: int) -> OodRow:
    """A measurement's scores and P(OOD)."""
    signs, sigma = ood.signs(features, Pair.parse(row.pair).source), _number(row.sigma_hat)
    runs = [signs, *(signs[i : i + FEWEST] for i in range(0, len(signs) - FEWEST + 1, FEWEST))]
    scores, *few = (ood.scores(row.pair, n, sigma, np.asarray(row.per_slice or [np.nan]), some) for some in runs)
    of_three = [p for some in few if (p := ood.assess(some)) is not None]
    return OodRow(name, row.pair, row.subject, row.kind, sigma, scores, ood.assess(scores), of_three)


def _number(value: float | None) -> float:
    return float("nan") if value is None else value

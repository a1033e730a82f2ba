"""Fit a checkpoint's calibration: the correction of its spread, and what turns its scores into P(OOD).

Fitted to training and validation subjects (the width of the spread to validation subjects alone, for the network has
seen the others' targets; at which intensities it is wider, to both), tested on the test subjects, whom neither the
network nor the calibration has seen.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..checkpoints.calibration import Calibration
from ..checkpoints.checkpoint import Checkpoint, write_calibration
from ..checkpoints.correction import Z90, SpreadCorrection, Voxels
from ..checkpoints.judge_file import load_judge
from ..datasets.bids import Session
from ..errors import MrtransError
from ..metrics.uncertainty import rank_correlation, rank_of_intensity
from ..ood.score import FEWEST, OodCalibration
from ..ood.signs import Looks
from ..paths import check_folder, write_together
from ..scan.contrasts import Pair
from .calibrate_report import coverage_lines, summary
from .ensemble_figures import known as finite
from .fit_ood import FOLDS, Image, Sigma, fit_ood
from .held_out import describe_machine, known_sessions
from .ood_study import Measurement, Settings, measure
from .report.ood_rows import OodRow, to_json
from .scans import NORMAL, FeatureStore, Scan, drawn, person

#: The file beside the reports in which the checkpoints calibrated later find the features of the scans.
FEATURES = "features.jsonl"
#: Of validation subjects, below which they say too little of people to narrow a spread, or to mend one pair's alone.
FEW_PEOPLE = 3


def calibrate(
    root: Path,
    checkpoint: Checkpoint,
    out: Path,
    settings: Settings | None = None,
    *,
    others: Mapping[str, Sequence[Path]] | None = None,
    say: Callable[[str], None] = print,
) -> list[Path]:
    """Measure, fit, test; writes ``NAME.calibration.json``, ``NAME.ood.json`` (rows) and ``NAME.ood.md`` into ``out``.

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
    sessions = known_sessions(root, [checkpoint])
    splits = checkpoint.card.splits
    people = [name for part in ("train", "validation") for name in splits.get(part, []) if name in sessions]
    if len({person(name) for name in people}) < FOLDS:
        raise MrtransError(
            f"Calibration needs at least {FOLDS} of the subjects that '{checkpoint.name}' was trained on; "
            f"'{root}' holds {len(people)}. Give the folder it was trained on."
        )
    settings = settings or Settings(checkpoint.card.sampler.n)
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
    ood, cross_validated = fit_ood(images, sigmas, settings.n, looks, say)
    spread = fit_spread(rows)
    about = {
        **_how(settings),
        "subjects": {part: [name for name in splits.get(part, []) if name in sessions] for part in splits},
        "cross_validated": cross_validated,
    }
    test = [(job, row) for job, row in measured if row.role == "test"]
    judged = [judge(row, store.of(job.scan, checkpoint), checkpoint.name, ood, settings.n) for job, row in test]
    about["coverage"] = coverage([row for _, row in test], spread)
    if not settings.sampling and (known := checkpoint.calibration) is not None:
        spread = known.spread
        ood = ood.model_copy(update={"n": known.ood.n, "ranges": known.ood.ranges} if known.ood else {})
        about |= {name: known.about[name] for name in ("coverage", "spread") if name in known.about}
    calibration = Calibration(card=checkpoint.card_digest, spread=spread, ood=ood, about=about)
    files = {
        f"{checkpoint.name}.ood.json": to_json(judged),
        f"{checkpoint.name}.ood.md": summary(checkpoint, judged, calibration),
    }
    return [write_calibration(checkpoint, calibration, out), *write_together(out, files)]


def calibrate_spread(
    root: Path,
    checkpoint: Checkpoint,
    out: Path,
    settings: Settings | None = None,
    *,
    say: Callable[[str], None] = print,
) -> list[Path]:
    """Fit the correction of the spread anew and keep P(OOD); arguments, files kept in ``out`` and errors as of
    :func:`calibrate`.

    Raises:
        MrtransError: the checkpoint has no calibration, does not sample, or no validation subject is there.
    """
    known = checkpoint.calibration
    if checkpoint.deterministic or known is None:
        lacks = "gives one answer, which has no spread" if checkpoint.deterministic else "has no calibration yet"
        raise MrtransError(f"'{checkpoint.name}' {lacks}; leave out --spread-only.")
    check_folder(out)
    sessions = known_sessions(root, [checkpoint])
    settings = settings or Settings(checkpoint.card.sampler.n)
    measured = measure(checkpoint, sessions, out / checkpoint.name, settings, errors_only=True, say=say)
    rows = [row for _, row in measured]
    spread = fit_spread(rows)
    if not spread:
        raise MrtransError(f"'{root}' holds no scans of validation subjects of '{checkpoint.name}' with their targets.")
    found = coverage([row for row in rows if row.role == "test"], spread)
    for line in coverage_lines(found) if found else ():
        say(line)
    about = {**known.about, "coverage": found, "spread": _how(settings)}
    return [write_calibration(checkpoint, known.model_copy(update={"spread": spread, "about": about}), out)]


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


def fit_spread(
    rows: Iterable[Measurement], known: Mapping[str, SpreadCorrection] | None = None
) -> dict[str, SpreadCorrection]:
    """A correction for each pair that a validation subject has.

    Its curves over the intensities, which take many people, are those of ``known``, or fitted to training and
    validation subjects: the network's errors on those whom it knows are smaller, but at the same places. Floor and
    factor are fitted to validation subjects.

    Pairs with fewer than :data:`FEW_PEOPLE` share floor and factor, for what a contrast of one or two people needed
    says less of the next person than what all their contrasts needed does; where it needed more, it gets more. It only
    ever widens. All are widened further by how much people differ (:func:`person_variation`), so that the interval
    holds for the next one.
    """
    rows = [row for row in rows if row.kept]
    gathered: dict[str, list[Measurement]] = {}
    for row in rows:
        if row.role == "validation":
            gathered.setdefault(row.pair, []).append(row)
    people = {pair: len({person(row.subject) for row in mine}) for pair, mine in gathered.items()}
    few = [pair for pair in gathered if people[pair] < FEW_PEOPLE]
    voxels = {pair: _voxels(mine) for pair, mine in gathered.items()}
    shape = {pair: (known or {}).get(pair) or _shape([row for row in rows if row.pair == pair]) for pair in gathered}
    fitted: dict[str, SpreadCorrection] = {}
    for group in filter(None, [few, *([pair] for pair in gathered if pair not in few)]):
        fitted |= zip(group, SpreadCorrection.refitted([(shape[pair], voxels[pair]) for pair in group]), strict=True)
    for pair in few:
        fitted[pair] = fitted[pair].scaled(max(1.0, _needed(voxels[pair], fitted[pair]) / Z90))
    variation = person_variation(rows, fitted)
    out = {}
    for pair, correction in fitted.items():
        widened = correction.scaled(widening(variation[target_of(pair)], people[pair]))
        out[pair] = widened.not_narrower(voxels[pair]) if pair in few else widened
    return out


def _shape(rows: Sequence[Measurement]) -> SpreadCorrection:
    """The curves that errors of training and validation people tell; none where they are few."""
    rows = [row for row in rows if row.role != "test"]
    enough = len({person(row.subject) for row in rows}) >= FEW_PEOPLE
    return SpreadCorrection.shaped(_voxels(rows)) if enough else SpreadCorrection(floor=0.0, factor=1.0)


def person_variation(rows: Iterable[Measurement], fitted: Mapping[str, SpreadCorrection]) -> dict[str, float]:
    """How much people differ in the width of their errors, for each target contrast: the standard deviation, over
    training and validation people and the pairs with that target, of the log of the factor by which the corrected
    spread would still have to be scaled to cover 90 %. Scanners differ in T1 more than in T2.

    The network knows the training people, so their errors are too small; that they differ less than those of others is
    not to be expected. 0 with fewer than :data:`FEW_PEOPLE`.
    """
    of: dict[str, dict[tuple[str, str], list[Measurement]]] = {target_of(pair): {} for pair in fitted}
    for row in rows:
        if row.role != "test" and row.pair in fitted:
            of[target_of(row.pair)].setdefault((person(row.subject), row.pair), []).append(row)
    out = dict.fromkeys(of, 0.0)
    for target, scans in of.items():
        if len({who for who, _ in scans}) >= FEW_PEOPLE:
            needed = [_needed(_voxels(mine), fitted[pair]) for (_, pair), mine in scans.items()]
            out[target] = float(np.std(np.log(needed), ddof=1))
    return out


def target_of(pair: str) -> str:
    """``T2`` of ``T1->T2``."""
    return Pair.parse(pair).target.value


def _needed(voxels: Voxels, correction: SpreadCorrection) -> float:
    """How many corrected standard deviations hold 90 % of their errors; :data:`Z90` were it right."""
    return float(np.quantile(np.abs(voxels.error) / correction.of(voxels), 0.9))


def widening(variation: float, people: int) -> float:
    """What a spread fitted to ``people`` is to be multiplied with to cover 90 % of the next person's voxels.

    The log of what the next person needs differs from theirs by a normal error of variance (1 + 1/people) variation²;
    the mean coverage over it is to be 90 %.
    """
    from scipy.optimize import brentq
    from scipy.special import ndtr

    nodes, weights = np.polynomial.hermite_e.hermegauss(40)
    needed = np.exp(np.sqrt(1 + 1 / people) * variation * nodes)

    def missing(factor: float) -> float:
        return float(weights @ (2 * ndtr(Z90 * factor / needed) - 1) / weights.sum()) - 0.9

    return float(brentq(missing, 0.5, 1e3))


def _voxels(rows: Iterable[Measurement]) -> Voxels:
    """All that were kept of them."""
    return Voxels.joined(row.answered for row in rows)


def coverage(rows: Iterable[Measurement], spread: Mapping[str, SpreadCorrection]) -> list[dict[str, Any]]:
    """Of each test scan, before and after: the share of voxels within the central 90 % interval of a normal law, and
    the rank correlation of the standard deviation with the size of the error, beside that of plain intensity (of the
    answer or of the source, whichever is the closer, either sign). None where a map is constant."""
    out = []
    for row in rows:
        if row.kept and row.pair in spread:
            voxels = row.answered
            stds = voxels.std, spread[row.pair].of(voxels)
            held = (float((np.abs(voxels.error) <= Z90 * std).mean()) for std in stds)
            ranks = (rank_correlation(std, voxels.error) for std in stds)
            figures = (*held, *ranks, rank_of_intensity(voxels.answer, voxels.source, voxels.error))
            names = ("before", "after", "rank_before", "rank_after", "rank_intensity")
            found = {name: finite(round(figure, 4)) for name, figure in zip(names, figures, strict=True)}
            out.append({"pair": row.pair, "subject": row.subject, **found})
    return out


def _number(value: float | None) -> float:
    return float("nan") if value is None else value

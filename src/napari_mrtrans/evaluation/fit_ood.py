"""From scores of usual and unusual scans to P(OOD): novelty, detector, the score that tells best, its probabilities.

Everything is judged out of fold: a person's scans by what was fitted without that person. A detector knows the
artefacts that it has learned, and the next one may be another; so scores are compared on kinds that were learned *and*
on kinds that were kept from the detector, one after the other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import MrtransError
from ..metrics import detection
from ..ood.contrast_check import ContrastCheck
from ..ood.detector import Detector
from ..ood.score import IMAGE_SCORES, SCORES, Isotonic, Novelty, OodCalibration, Range
from ..scan.contrasts import Contrast
from .scans import NORMAL, person

#: Of the calibration's cross-validation; fewer persons tell nothing of how persons differ.
FOLDS = 5
#: At most, where a score is fitted: it should know nearly as many persons as the one that is kept.
SCORE_FOLDS = 12


@dataclass(frozen=True)
class Image:
    """The features of one source scan.

    Attributes:
        subject: Name of the session.
        source: Contrast.
        kind: ``normal``, or what is unusual.
        features: (slices, features).
    """

    subject: str
    source: Contrast
    kind: str
    features: NDArray[np.float64]

    @property
    def usual(self) -> bool:
        """Nothing unusual about it."""
        return self.kind == NORMAL


@dataclass(frozen=True)
class Sigma:
    """σ̂ of an image for one pair; NaN for deterministic models.

    Attributes:
        seen: The network was trained on this person and is surer of them than of others: nothing to choose a score by.
    """

    image: Image
    pair: str
    sigma_hat: float
    per_slice: NDArray[np.float64]
    seen: bool = False


def fit_novelty(images: Sequence[Image]) -> dict[Contrast, Novelty]:
    """From usual scans, for each source contrast of which at least three persons have one."""
    usual: dict[Contrast, dict[str, list[NDArray[np.float64]]]] = {}
    for image in images:
        if image.usual:
            usual.setdefault(image.source, {}).setdefault(person(image.subject), []).append(image.features)
    return {
        source: Novelty.fit({name: np.concatenate(scans) for name, scans in people.items()})
        for source, people in usual.items()
        if len(people) >= 3
    }


def fit_detector(images: Sequence[Image]) -> Detector | None:
    """None where there are no unusual scans to learn from."""
    sources = {image.source for image in images if image.usual}
    learned = [image for image in images if image.source in sources]
    if all(image.usual for image in learned):
        return None
    return Detector.fit(
        [image.features for image in learned],
        [image.source for image in learned],
        [None if image.usual else image.kind for image in learned],
    )


Score = Callable[[Image], NDArray[np.float64]]


def out_of_fold(images: Sequence[Image], fit: Callable[[Sequence[Image]], Score]) -> NDArray[np.float64]:
    """The mean over slices of each scan's score, by what was fitted to other persons; NaN with too few persons."""
    from sklearn.model_selection import GroupKFold

    people = [person(image.subject) for image in images]
    found = np.full(len(images), np.nan)
    if len(set(people)) < FOLDS:
        return found
    for train, test in GroupKFold(min(SCORE_FOLDS, len(set(people)))).split(people, groups=people):
        score = fit([images[i] for i in train])
        for i in test:
            known = _finite(score(images[i]))
            found[i] = known.mean() if known.size else np.nan
    return found


def novelty_score(images: Sequence[Image]) -> Score:
    """Novelty, fitted to ``images``."""
    known = fit_novelty(images)
    unknown = np.full(1, np.nan)
    return lambda image: known[image.source].slice_scores(image.features) if image.source in known else unknown


def contrast_score(images: Sequence[Image]) -> Score:
    """Log odds of another contrast, fitted to the usual ones of ``images``."""
    check = fit_contrast(images)
    unknown = np.full(1, np.nan)
    return lambda image: unknown if check is None else check.slice_scores(image.features, image.source)


def fit_contrast(images: Sequence[Image]) -> ContrastCheck | None:
    """From usual scans; None where they are of one contrast."""
    usual = [image for image in images if image.usual]
    return ContrastCheck.fit([image.features for image in usual], [image.source for image in usual])


def artefact_score(images: Sequence[Image], *, without: str = "") -> Score:
    """Log odds of an artefact, fitted to ``images``; kind ``without`` is kept from the detector."""
    detector = fit_detector([image for image in images if image.kind != without])
    unknown = np.full(1, np.nan)
    return lambda image: unknown if detector is None else detector.slice_scores(image.features, image.source)


@dataclass(frozen=True)
class _Row:
    """Scores of one scan out of fold, and the same by a detector that has not learned its kind."""

    subject: str
    kind: str
    scores: Mapping[str, float]
    unseen: Mapping[str, float]

    @property
    def unusual(self) -> bool:
        return self.kind != NORMAL


def fit_ood(
    images: Sequence[Image], sigmas: Sequence[Sigma], n: int, say: Callable[[str], None] = lambda line: None
) -> tuple[OodCalibration, dict[str, Any]]:
    """The calibration, and how its scores did out of fold.

    Args:
        images: All source scans of the subjects it is fitted to.
        sigmas: σ̂ of some of them.
        n: Samples that these were brought to.
        say: Told progress.

    Raises:
        MrtransError: usual or unusual scans are missing.
    """
    usual = np.array([image.usual for image in images])
    if usual.all() or not usual.any():
        raise MrtransError("Calibration needs normal and unusual scans of every subject; some have no usable slice.")
    say("novelty and detector, person by person")
    odds, other = out_of_fold(images, artefact_score), out_of_fold(images, contrast_score)
    wrong = _standardised(other, usual)
    scored = np.stack([out_of_fold(images, novelty_score), _joined(_standardised(odds, usual), wrong)], axis=1)
    unseen = scored.copy()
    kinds = sorted({image.kind for image in images if not image.usual})
    for kind in kinds if len(kinds) > 1 else ():
        say(f"detector without {kind}")
        mine = np.array([image.kind == kind for image in images])
        # Only one kind's scans are of interest, and the usual ones that they are measured against.
        kept = out_of_fold(images, partial(artefact_score, without=kind))
        unseen[mine, 1] = _joined(_standardised(kept, usual), wrong)[mine]
    detector, own = fit_detector(images), _finite(odds[usual])
    if detector is not None and len(own) > 1:
        detector = detector.standardised_to(own.tolist())
    check, own = fit_contrast(images), _finite(other[usual])
    if check is not None and len(own) > 1:
        check = check.standardised_to(own.tolist())
    finite = [s for s in sigmas if np.isfinite(s.sigma_hat)]
    constant = Isotonic(scores=[0.0], probabilities=[0.5])
    draft = OodCalibration(
        n=n,
        ranges=_ranges(finite),
        novelty=fit_novelty(images),
        detector=detector,
        contrast=check,
        probability=constant,
    )
    of = {id(image): i for i, image in enumerate(images)}
    rows = [_row(draft, s, scored[of[id(s.image)]], unseen[of[id(s.image)]]) for s in finite if not s.seen]
    every = [_row(draft, Sigma(image, "", np.nan, np.empty(0)), scored[i], unseen[i]) for i, image in enumerate(images)]
    measured = {name: _figures(every if name in IMAGE_SCORES else rows, name) for name in SCORES}
    figures = {name: own for name, own in measured.items() if own is not None}
    if not figures:
        raise MrtransError("Calibration needs normal and unusual scans of every subject; some have no usable slice.")
    best = max(figures, key=lambda name: (figures[name]["auc"] + figures[name]["auc_unseen"], name == "image"))
    chosen = [row for row in (every if best in IMAGE_SCORES else rows) if np.isfinite(row.scores[best])]
    probability = Isotonic.fit([row.scores[best] for row in chosen], [row.unusual for row in chosen])
    about = {"score": best, "normal": int(usual.sum()), "unusual": int((~usual).sum()), **figures}
    return draft.model_copy(update={"score": best, "probability": probability}), about


def balanced(labels: Sequence[bool], draws: int = 20, seed: int = 0) -> Iterator[NDArray[np.intp]]:
    """Indices of random subsets with as many usual as unusual inputs (paper, "Calibration")."""
    rng = np.random.default_rng(seed)
    sides = [np.flatnonzero(np.asarray(labels, dtype=bool) == side) for side in (False, True)]
    size = min(len(side) for side in sides)
    for _ in range(draws):
        yield np.concatenate([rng.permutation(side)[:size] for side in sides])


def balanced_figures(labels: Sequence[bool], probability: Sequence[float]) -> dict[str, float]:
    """ECE, Brier score and NLL, each the mean over :func:`balanced` draws."""
    truth, p = np.asarray(labels, dtype=bool), np.asarray(probability, dtype=np.float64)
    drawn = list(balanced(labels))
    measures = {"ece": detection.ece, "brier": detection.brier, "nll": detection.nll}
    return {name: float(np.mean([measure(truth[i], p[i]) for i in drawn])) for name, measure in measures.items()}


def _figures(rows: Sequence[_Row], score: str) -> dict[str, float] | None:
    """AUC of a score, and ECE, Brier score and NLL of its isotonic calibration, five-fold by person."""
    from sklearn.model_selection import GroupKFold

    values, unseen = (np.array([getattr(row, part)[score] for row in rows]) for part in ("scores", "unseen"))
    labels = np.array([row.unusual for row in rows], dtype=bool)
    people = [person(row.subject) for row in rows]
    if not (np.isfinite(values).all() and np.isfinite(unseen).all()) or len(set(people)) < FOLDS:
        return None
    if labels.all() or not labels.any():
        return None
    probability = np.empty(len(rows))
    for train, test in GroupKFold(FOLDS).split(values, labels, people):
        fold = Isotonic.fit(values[train].tolist(), labels[train].tolist())
        probability[test] = [fold(value) for value in values[test]]
    return {
        "auc": detection.auc(labels, values),
        "auc_unseen": detection.auc(labels, unseen),
        **balanced_figures(labels.tolist(), probability.tolist()),
    }


def _row(draft: OodCalibration, sigma: Sigma, known: NDArray[np.float64], unseen: NDArray[np.float64]) -> _Row:
    image = sigma.image
    both = [
        draft.scores(sigma.pair, draft.n, sigma.sigma_hat, sigma.per_slice, pair[:1], pair[1:])
        for pair in (known, unseen)
    ]
    return _Row(image.subject, image.kind, both[0], both[1])


def _standardised(found: NDArray[np.float64], usual: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Log odds in standard deviations of usual scans, as :meth:`Detector.standardised_to`."""
    own = _finite(found[usual])
    return (found - own.mean()) / max(float(own.std(ddof=1)), 1e-6) if len(own) > 1 else found


def _joined(artefact: NDArray[np.float64], wrong: NDArray[np.float64]) -> NDArray[np.float64]:
    """As :meth:`OodCalibration.slice_scores`; a contrast that cannot be checked leaves the artefact alone."""
    return np.where(np.isfinite(wrong), np.logaddexp(artefact, np.nan_to_num(wrong)), artefact)


def _ranges(sigmas: Iterable[Sigma]) -> dict[str, Range]:
    usual: dict[str, list[float]] = {}
    for sigma in sigmas:
        if sigma.image.usual:
            usual.setdefault(sigma.pair, []).append(sigma.sigma_hat)
    return {pair: Range.of(values) for pair, values in usual.items()}


def _finite(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return values[np.isfinite(values)]

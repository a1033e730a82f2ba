"""From features of usual and unusual scans to P(OOD): novelty, detector, the score that tells best, its probabilities.

Everything is judged out of fold: a person's scans by what was fitted without that person. The networks that judge
slices are asked that way from the start (:class:`.scans.FeatureStore`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import MrtransError
from ..metrics import detection
from ..ood.score import FEWEST, IMAGE_SCORES, RAW_SCORES, SCORES, Isotonic, OodCalibration, Range
from ..ood.signs import Looks, Signs, Standard
from ..scan.contrasts import Contrast
from .out_of_fold import FOLDS, Image, fit_detector, fit_novelty, novelty_and_artefact, out_of_fold
from .scans import NORMAL, person

#: Fewer usual scans tell no range of σ̂.
FEWEST_SCANS = 5


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


@dataclass(frozen=True)
class _Row:
    """Scores of one scan, or of a few slices of it, out of fold."""

    subject: str
    pair: str
    kind: str
    scores: dict[str, float]

    @property
    def unusual(self) -> bool:
        return self.kind != NORMAL


def fit_ood(
    images: Sequence[Image],
    sigmas: Sequence[Sigma],
    n: int,
    looks: Looks | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> tuple[OodCalibration, dict[str, Any]]:
    """The calibration, and how its scores did out of fold.

    Args:
        images: All source scans of the subjects it is fitted to.
        sigmas: σ̂ of some of them.
        n: Samples that these were brought to.
        looks: What the last features are; None: all are of quality, and novelty alone is known.
        say: Told for which contrasts nothing is fitted.

    Raises:
        MrtransError: usual or unusual scans are missing.
    """
    images = [image for image in images if np.isfinite(image.features).all(axis=1).any()]
    if not any(image.usual for image in images) or all(image.usual for image in images):
        raise MrtransError("Calibration needs normal and unusual scans of every subject; some have no usable slice.")
    size = images[0].features.shape[1] - (looks.size if looks else 0)
    scores = out_of_fold(images, partial(novelty_and_artefact, size=size))
    if rare := _too_rare(images, scores):
        say(f"Too few people have a scan of {', '.join(rare)}: P(OOD) is not calibrated for it.")
        kept = [i for i, image in enumerate(images) if image.source not in rare]
        images, scores = [images[i] for i in kept], [scores[i] for i in kept]
        sigmas = [sigma for sigma in sigmas if sigma.image.source not in rare]
    usual = [image for image in images if image.usual]
    sigmas = [sigma for sigma in sigmas if any(sigma.image is image for image in images)]
    detector = fit_detector(images)
    own = [known.mean() for image, score in zip(images, scores, strict=True)
           if image.usual and len(known := score[:, 1][np.isfinite(score[:, 1])])]  # fmt: skip
    standard = Standard.of(own) if len(own) > 1 else Standard()
    if detector is not None and len(own) > 1:
        detector = detector.standardised_to(own)
    finite = [sigma for sigma in sigmas if np.isfinite(sigma.sigma_hat)]
    draft = OodCalibration(
        n=n,
        ranges=sigma_ranges((sigma.pair, sigma.sigma_hat) for sigma in finite if sigma.image.usual),
        novelty=fit_novelty(images, size),
        looks=looks and _standardised(looks, usual),
        detector=detector,
        probability={FEWEST: Isotonic(scores=[0.0], probabilities=[0.5])},
    )
    signs = {
        id(image): _signs(draft, image, score[:, 0], standard(score[:, 1]))
        for image, score in zip(images, scores, strict=True)
    }
    every = [Sigma(image, "", np.nan, np.empty(0)) for image in images]
    unseen = [sigma for sigma in finite if not sigma.seen]
    rows = {name: (every if name in IMAGE_SCORES else unseen) for name in SCORES}

    def scored(name: str, runs: bool) -> list[_Row]:
        found = [row for sigma in rows[name] for row in _rows(draft, sigma, signs[id(sigma.image)], runs)]
        return [row for row in found if np.isfinite(row.scores[name])]

    judged = {name: _figures(scored(name, False), name, len(rows[name])) for name in SCORES}
    figures = {name: own for name, own in judged.items() if own is not None}
    if not figures:
        raise MrtransError("Calibration needs normal and unusual scans of every subject; some have no usable slice.")
    several = len({row.pair for row in scored(RAW_SCORES[0], False)}) > 1
    comparable = [name for name in figures if name not in RAW_SCORES or not several]
    aucs = {name: figures[name]["auc"] for name in comparable or figures}
    best = max(aucs, key=lambda name: (round(aucs[name], 2), name == "image", aucs[name]))
    whole = min(len(image.features) for image in images)
    probability = {
        count: Isotonic.fit([row.scores[best] for row in chosen], [row.unusual for row in chosen])
        for count, chosen in ((FEWEST, scored(best, True)), (max(whole, FEWEST + 1), scored(best, False)))
    }
    about = {"score": best, "normal": len(usual), "unusual": len(images) - len(usual), **figures}
    return draft.model_copy(update={"score": best, "probability": probability}), about


def _too_rare(images: Sequence[Image], scores: Sequence[NDArray[np.float64]]) -> list[Contrast]:
    """Contrasts that too few people have for a novelty out of fold, if there are others: no score would be known of all
    scans but those that need no people, and the best of these is blind to most of what can be wrong."""
    known: dict[Contrast, bool] = {}
    for image, score in zip(images, scores, strict=True):
        if image.usual:
            known[image.source] = known.get(image.source, True) and bool(np.isfinite(score[:, 0]).any())
    # An unusual scan may be of a contrast of which there is no usual one.
    lacking = [source for source in dict.fromkeys(image.source for image in images) if not known.get(source, False)]
    return lacking if any(known.values()) else []


def _standardised(looks: Looks, usual: Sequence[Image]) -> Looks:
    """With the mean and spread of these scans' log odds."""
    scans = [(image.features[np.isfinite(image.features).all(axis=1)], image.source) for image in usual]
    odds = np.array([looks.log_odds(x[:, -looks.size :], source).mean() for x, source in scans if len(x)])
    odds = odds[np.isfinite(odds)]
    return looks.model_copy(update={"contrast": Standard.of(odds) if len(odds) > 1 else Standard()})


def _signs(
    draft: OodCalibration, image: Image, novelty: NDArray[np.float64], artefact: NDArray[np.float64]
) -> list[Signs]:
    """Of each slice, with this novelty and artefact."""
    found = draft.signs(image.features, image.source)
    rows = zip(found, novelty, artefact, strict=True)
    return [signs._replace(novelty=float(n), artefact=float(a)) for signs, n, a in rows]


def _rows(draft: OodCalibration, sigma: Sigma, signs: Sequence[Signs], runs: bool) -> Iterator[_Row]:
    """Of all slices together, or of each run of neighbouring ones."""
    image, length = sigma.image, FEWEST if runs else len(signs)
    for start in range(0, len(signs) - length + 1, length):
        some = signs[start : start + length]
        scores = draft.scores(sigma.pair, draft.n, sigma.sigma_hat, sigma.per_slice, some)
        yield _Row(image.subject, sigma.pair, image.kind, scores)


def balanced(labels: Sequence[bool], draws: int = 20) -> Iterator[NDArray[np.intp]]:
    """Indices of random subsets with as many usual as unusual inputs (paper, "Calibration")."""
    rng = np.random.default_rng(0)
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


def _figures(rows: Sequence[_Row], score: str, wanted: int) -> dict[str, float] | None:
    """AUC of a score, and ECE, Brier score and NLL of its isotonic calibration, five-fold by person; None where it is
    unknown for some of the ``wanted``."""
    from sklearn.model_selection import GroupKFold

    values = np.array([row.scores[score] for row in rows])
    labels = np.array([row.unusual for row in rows], dtype=bool)
    people = [person(row.subject) for row in rows]
    if len(rows) < wanted or len(set(people)) < FOLDS or labels.all() or not labels.any():
        return None
    probability = np.empty(len(rows))
    for train, test in GroupKFold(FOLDS).split(values, labels, people):
        fold = Isotonic.fit(values[train].tolist(), labels[train].tolist())
        probability[test] = [fold(value) for value in values[test]]
    pairs = [row.pair if score in RAW_SCORES else "" for row in rows]  # of raw σ̂, that of two targets does not compare
    within = detection.stratified_auc(labels, values, pairs)
    return {"auc": 0.5 if within is None else within, **balanced_figures(labels.tolist(), probability.tolist())}


def sigma_ranges(sigmas: Iterable[tuple[str, float]]) -> dict[str, Range]:
    """The range of each pair from pairs (``T1->T2``) and σ̂ of usual scans, of which it takes :data:`FEWEST_SCANS`."""
    usual: dict[str, list[float]] = {}
    for pair, sigma_hat in sigmas:
        usual.setdefault(pair, []).append(sigma_hat)
    return {pair: Range.of(values) for pair, values in usual.items() if len(values) >= FEWEST_SCANS}

"""Novelty and artefact of scans, a person's by what was fitted to the scans of others."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..ood.detector import Detector
from ..ood.score import Novelty
from ..scan.contrasts import Contrast
from .scans import NORMAL, WRONG, person

#: Of the calibration's cross-validation; fewer persons tell nothing of how persons differ.
FOLDS = 5
#: At most, where novelty is fitted: it should know nearly as many persons as the one that is kept.
SCORE_FOLDS = 12
#: Fewer people with a usual scan of a contrast tell no novelty of it.
FEWEST_PEOPLE = 3


@dataclass(frozen=True)
class Image:
    """The features of one source scan.

    Attributes:
        subject: Name of the session.
        source: Contrast.
        kind: ``normal``, or what is unusual.
        features: (slices, features), neighbouring slices in runs of :data:`~napari_mrtrans.ood.score.FEWEST`.
    """

    subject: str
    source: Contrast
    kind: str
    features: NDArray[np.float64]

    @property
    def usual(self) -> bool:
        """Nothing unusual about it."""
        return self.kind == NORMAL


def fit_novelty(images: Sequence[Image], size: int) -> dict[Contrast, Novelty]:
    """From the first ``size`` features of usual scans, for each contrast of which :data:`FEWEST_PEOPLE` have one."""
    usual: dict[Contrast, dict[str, list[NDArray[np.float64]]]] = {}
    for image in images:
        if image.usual:
            scans = usual.setdefault(image.source, {}).setdefault(person(image.subject), [])
            scans.append(image.features[:, :size])
    return {
        source: Novelty.fit({name: np.concatenate(scans) for name, scans in people.items()})
        for source, people in usual.items()
        if len(people) >= FEWEST_PEOPLE
    }


def fit_detector(images: Sequence[Image]) -> Detector | None:
    """Of all features; None where there are no unusual scans to learn from. Another contrast is no artefact."""
    sources = {image.source for image in images if image.usual}
    learned = [image for image in images if image.source in sources and image.kind != WRONG]
    if all(image.usual for image in learned):
        return None
    return Detector.fit(
        [image.features for image in learned],
        [image.source for image in learned],
        [None if image.usual else image.kind for image in learned],
    )


#: Novelty and artefact of each slice of a scan: (slices, 2).
Score = Callable[[Image], NDArray[np.float64]]


def novelty_and_artefact(images: Sequence[Image], size: int) -> Score:
    """Both fitted to ``images``, novelty to the first ``size`` features; NaN where one cannot be."""
    novelty, detector = fit_novelty(images, size), fit_detector(images)

    def score(image: Image) -> NDArray[np.float64]:
        unknown = np.full(len(image.features), np.nan)
        known = novelty.get(image.source)
        strange = known.slice_scores(image.features) if known else unknown
        return np.stack([strange, detector.slice_scores(image.features, image.source) if detector else unknown], axis=1)

    return score


def out_of_fold(images: Sequence[Image], fit: Callable[[Sequence[Image]], Score]) -> list[NDArray[np.float64]]:
    """Scores of each scan's slices by what was fitted to other persons; NaN with too few of them."""
    people = [person(image.subject) for image in images]
    found = [np.full((len(image.features), 2), np.nan) for image in images]
    if len(set(people)) < FOLDS:
        return found
    for train, test in _folds(images, people):
        score = fit([images[i] for i in train])
        for i in test:
            found[i] = score(images[i])
    return found


#: Numbers of the scans that are fitted to, and of those that are scored.
_Fold = tuple[NDArray[np.intp], NDArray[np.intp]]


def _folds(images: Sequence[Image], people: Sequence[str]) -> list[_Fold]:
    """People apart. Where that leaves too few of a contrast, and a division that spreads the contrasts does not, it."""
    from sklearn.model_selection import GroupKFold, StratifiedGroupKFold

    count, contrasts = min(SCORE_FOLDS, len(set(people))), [image.source for image in images]
    folds = list(GroupKFold(count).split(people, groups=people))
    if not (lacking := _lacking(images, people, folds)) or max(Counter(contrasts).values()) < count:
        return folds
    with warnings.catch_warnings(action="ignore"):  # that a contrast has fewer scans than there are folds
        spread = list(StratifiedGroupKFold(count).split(people, contrasts, people))
    return spread if len(_lacking(images, people, spread)) < len(lacking) else folds


def _lacking(images: Sequence[Image], people: Sequence[str], folds: Sequence[_Fold]) -> set[Contrast]:
    """Contrasts of scans that are scored where too few people are left who have a usual one."""
    short: set[Contrast] = set()
    for train, test in folds:
        left = Counter(source for source, _ in {(images[i].source, people[i]) for i in train if images[i].usual})
        short |= {images[i].source for i in test if left[images[i].source] < FEWEST_PEOPLE}
    return short

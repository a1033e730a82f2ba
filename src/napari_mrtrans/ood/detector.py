"""Artefacts that were learned: a multinomial logistic regression of slice features, stored as plain numbers.

Among the features is what a network makes of the slice (:class:`napari_mrtrans.networks.judge.SliceJudge`), which sees
what is gross at once; the features made by hand see motion that it misses.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from ..scan.contrasts import Contrast
from .signs import Standard

#: Standardised features are kept within this many standard deviations: a scan may lie far from all that was learned.
_LIMIT = 8.0
#: Inverse strength of the L2 penalty, chosen by cross-validation over persons.
STRENGTH = 0.1


class Detector(BaseModel):
    """Log odds that a slice holds one of several known artefacts rather than none.

    Attributes:
        means: Of the features of usual scans, for each source contrast.
        scale: Standard deviation of the features of usual scans about these.
        kinds: The artefacts.
        weights: Log odds of each kind against none for each standardised feature, and a constant last: one row a kind.
        centre: Mean over usual scans of persons that were left out of the mean over slices of the log odds.
        spread: Standard deviation of the same.
    """

    model_config = ConfigDict(extra="forbid")

    means: dict[Contrast, list[float]]
    scale: list[float]
    kinds: list[str] = Field(min_length=1)
    weights: list[list[float]]
    centre: float = 0.0
    spread: float = Field(1.0, gt=0)

    @classmethod
    def fit(
        cls,
        features: Sequence[NDArray[np.floating]],
        contrasts: Sequence[Contrast],
        kinds: Sequence[str | None],
    ) -> Detector:
        """All kinds together weigh as much as none, and each kind as much as any other.

        Args:
            features: (slices, features) of each scan; slices with NaN are left out.
            contrasts: Of each scan.
            kinds: The artefact of each scan, None for usual ones.
        """
        from sklearn.linear_model import LogisticRegression

        scans = [x[np.isfinite(x).all(axis=1)] for x in map(np.asarray, features)]
        usual = {
            contrast: [x for x, c, kind in zip(scans, contrasts, kinds, strict=True) if c == contrast and kind is None]
            for contrast in dict.fromkeys(contrasts)
        }
        means = {contrast: np.concatenate(own).mean(axis=0) for contrast, own in usual.items() if own}
        scale = np.concatenate([x - means[c] for c, own in usual.items() for x in own]).std(axis=0) + 1e-6
        known = [(x, c, kind or "") for x, c, kind in zip(scans, contrasts, kinds, strict=True) if c in means]
        x = np.concatenate([_standardised(own, means[c], scale) for own, c, _ in known])
        labels = np.repeat([kind for *_, kind in known], [len(own) for own, *_ in known])
        names, counts = np.unique(labels, return_counts=True)
        share = {name: (len(names) - 1 if name == "" else 1) / count for name, count in zip(names, counts, strict=True)}
        weight = np.array([share[label] for label in labels])
        model = LogisticRegression(C=STRENGTH, max_iter=200, tol=1e-3)
        model.fit(x, labels, sample_weight=weight * len(weight) / weight.sum())
        table = np.column_stack([model.coef_, model.intercept_])
        if len(table) == 1:  # two classes: the positive one alone, "" being first
            table = np.vstack([np.zeros_like(table), table])
        of = dict(zip(model.classes_, table, strict=True))
        return cls(
            means={contrast: _rounded(mean) for contrast, mean in means.items()},
            scale=_rounded(scale),
            kinds=[str(name) for name in names if name],
            weights=[_rounded(of[name] - of[""]) for name in names if name],
        )

    def log_odds(self, features: NDArray[np.floating], contrast: Contrast) -> NDArray[np.float64]:
        """(slices, features) to (slices, kinds); NaN for slices with NaN, and for a contrast that is not known."""
        x = np.atleast_2d(features)
        mean = self.means.get(contrast)
        if mean is None:
            return np.full((len(x), len(self.kinds)), np.nan)
        table = np.asarray(self.weights)
        standard = _standardised(x[:, : len(mean)], np.asarray(mean), np.asarray(self.scale))
        return np.asarray(standard @ table[:, :-1].T + table[:, -1])

    def slice_scores(self, features: NDArray[np.floating], contrast: Contrast) -> NDArray[np.float64]:
        """(slices, features) to one score a slice: standard deviations above usual scans; NaN as :meth:`log_odds`."""
        return self.scores_of(self.log_odds(features, contrast))

    def scores_of(self, odds: NDArray[np.floating]) -> NDArray[np.float64]:
        """What :meth:`slice_scores` makes of :meth:`log_odds`."""
        with np.errstate(invalid="ignore"):
            total = np.logaddexp.reduce(odds, axis=1)
        return np.asarray((total - self.centre) / self.spread)

    def standardised_to(self, usual: Sequence[float]) -> Detector:
        """The same, with ``centre`` and ``spread`` of these scores of usual scans."""
        return self.model_copy(update=Standard.of(usual).model_dump())


def _standardised(
    x: NDArray[np.floating], mean: NDArray[np.floating], scale: NDArray[np.floating]
) -> NDArray[np.float64]:
    return np.clip((np.asarray(x, dtype=np.float64) - mean) / scale, -_LIMIT, _LIMIT)


def _rounded(values: NDArray[np.floating]) -> list[float]:
    return [float(f"{value:.5g}") for value in values]

"""Does a slice show the contrast that it is said to be? A multinomial logistic regression over usual scans."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from ..scan.contrasts import Contrast

#: Inverse strength of the L2 penalty; contrasts are told apart easily, and the odds should not run away.
STRENGTH = 0.01
_LIMIT = 8.0


class ContrastCheck(BaseModel):
    """Log odds that a slice shows another contrast than it is said to.

    Attributes:
        mean: Of the features of usual scans of all contrasts.
        scale: Their standard deviation.
        weights: One row for each contrast: of each standardised feature, and a constant last.
        centre: Mean over usual scans of persons that were left out of the mean over slices of the log odds.
        spread: Standard deviation of the same.
    """

    model_config = ConfigDict(extra="forbid")

    mean: list[float]
    scale: list[float]
    weights: dict[Contrast, list[float]]
    centre: float = 0.0
    spread: float = Field(1.0, gt=0)

    @classmethod
    def fit(cls, features: Sequence[NDArray[np.floating]], contrasts: Sequence[Contrast]) -> ContrastCheck | None:
        """From (slices, features) of usual scans and their contrasts; None for fewer than two contrasts."""
        from sklearn.linear_model import LogisticRegression

        if len(set(contrasts)) < 2:
            return None
        scans = [x[np.isfinite(x).all(axis=1)] for x in map(np.asarray, features)]
        x = np.concatenate(scans)
        labels = np.repeat([contrast.value for contrast in contrasts], [len(own) for own in scans])
        mean, scale = x.mean(axis=0), x.std(axis=0) + 1e-6
        model = LogisticRegression(C=STRENGTH, max_iter=200, tol=1e-3, class_weight="balanced")
        model.fit(np.clip((x - mean) / scale, -_LIMIT, _LIMIT), labels)
        table = np.column_stack([model.coef_, model.intercept_])
        if len(table) == 1:  # of two contrasts, the second alone
            table = np.vstack([np.zeros_like(table), table])
        weights = {Contrast(name): _rounded(row) for name, row in zip(model.classes_, table, strict=True)}
        return cls(mean=_rounded(mean), scale=_rounded(scale), weights=weights)

    def slice_scores(self, features: NDArray[np.floating], contrast: Contrast) -> NDArray[np.float64]:
        """(slices, features) to standard deviations above usual scans; NaN for NaN and for a contrast not known."""
        x = np.atleast_2d(features)[:, : len(self.mean)]
        if contrast not in self.weights:
            return np.full(len(x), np.nan)
        standard = np.clip((x - np.asarray(self.mean)) / np.asarray(self.scale), -_LIMIT, _LIMIT)
        logits = {name: standard @ np.asarray(row[:-1]) + row[-1] for name, row in self.weights.items()}
        others = np.stack([value for name, value in logits.items() if name != contrast])
        with np.errstate(invalid="ignore"):
            odds = np.logaddexp.reduce(others, axis=0) - logits[contrast]
        return np.asarray((odds - self.centre) / self.spread)

    def standardised_to(self, usual: Sequence[float]) -> ContrastCheck:
        """The same, with ``centre`` and ``spread`` of these scores of usual scans."""
        values = np.asarray(usual, dtype=np.float64)
        return self.model_copy(update={"centre": float(values.mean()), "spread": max(float(values.std(ddof=1)), 1e-6)})


def _rounded(values: NDArray[np.floating]) -> list[float]:
    return [float(f"{value:.5g}") for value in values]

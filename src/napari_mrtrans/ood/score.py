"""Out-of-distribution input: scores of a volume, and the calibrated probability that it is unlike the training scans.

The paper scores a volume by σ̂, its mean standard deviation ("Results", OOD experiment), and calibrates that score by
isotonic regression. σ̂ is always given. P(OOD) and its verdict rest on the source image, which needs no samples: on its
*novelty*, the Mahalanobis distance of its :mod:`.slice_quality` features to those of the training scans, for whatever
nobody thought of, and on what a network sees of artefacts and of the contrast (:mod:`.signs`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from ..scan.contrasts import Contrast
from .detector import Detector
from .signs import Looks, Signs

#: Lower limits of P(OOD), and what is said from there on.
VERDICTS = ((0.0, "in distribution"), (0.3, "unsure"), (0.7, "out of distribution"))

#: Fewer slices than this are not judged, and what is said then.
FEWEST = 3
TOO_FEW = f"not judged: fewer than {FEWEST} slices large enough, with head on either side"

#: Scores that a volume gets; a calibration says which of them its probability rests on. ``image`` is the largest of
#: novelty, artefact and contrast, smoothly (log-sum-exp), so none hides what another sees; ``combined`` is the larger
#: of the image's score and that of σ̂. All but σ̂ itself are in standard deviations of usual scans.
SCORES = ("sigma_hat", "sigma_hat_max", "novelty", "artefact", "contrast", "image", "combined")
#: σ̂ on each target's own scale: that of different pairs does not compare.
RAW_SCORES = ("sigma_hat", "sigma_hat_max")
#: Those that the source image alone decides.
IMAGE_SCORES = ("novelty", "artefact", "contrast", "image")
#: What :meth:`OodCalibration.reason` chooses from, and which of them tell more than that something is unusual. The
#: louder of these is named where one reaches so many standard deviations of usual scans, however loud novelty is. (A
#: wrong contrast of the two validation people has 1.9 to 5.7, the right one at most 1.4, or 1.8 beside an artefact
#: above 5.)
_REASONS, CLEAR = ("novelty", "artefact", "contrast"), {"artefact": 3.0, "contrast": 1.8}


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Range(_Strict):
    """Where the scores of in-distribution scans lie: 5th, 50th and 95th percentile."""

    low: float
    middle: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float] | NDArray[np.floating]) -> Range:
        """The range of ``values``."""
        low, middle, high = np.quantile(np.asarray(values, dtype=np.float64), (0.05, 0.5, 0.95))
        return cls(low=float(low), middle=float(middle), high=float(high))


class Novelty(_Strict):
    """Distance of feature vectors to those of the training scans, for one source contrast.

    Attributes:
        mean: Of the features.
        factor: Lower triangle L, row by row, of a precision matrix L Lᵀ (Ledoit and Wolf 2004 shrinkage).
        centre: Mean over training scans, each measured against the others, of their mean log distance.
        spread: Standard deviation of the same.
    """

    mean: list[float]
    factor: list[float]
    centre: float = 0.0
    spread: float = Field(1.0, gt=0)

    @classmethod
    def fit(cls, scans: Mapping[str, NDArray[np.floating]]) -> Novelty:
        """From the features (slices, features) of each person's scans; at least three persons.

        ``centre`` and ``spread`` are measured leaving one person out, so that they hold for a new one.
        """
        left_out = []
        for person in scans:
            rest = _gaussian([x for other, x in scans.items() if other != person])
            left_out.append(rest.log_distance(scans[person]))
        return _gaussian(list(scans.values())).model_copy(
            update={"centre": float(np.mean(left_out)), "spread": float(np.std(left_out, ddof=1))}
        )

    def slice_scores(self, features: NDArray[np.floating]) -> NDArray[np.float64]:
        """(slices, features) to one score a slice: standard deviations above the scans of training; NaN for NaN.

        Features beyond those it was fitted to are left out.
        """
        size = len(self.mean)
        lower = np.zeros((size, size))
        lower[np.tril_indices(size)] = self.factor
        squared = np.square((np.atleast_2d(features)[:, :size] - self.mean) @ lower).mean(axis=1)
        return (0.5 * np.log(squared + 1e-12) - self.centre) / self.spread

    def log_distance(self, features: NDArray[np.floating]) -> float:
        """Mean of :meth:`slice_scores` over the slices that have one."""
        return float(np.nanmean(self.slice_scores(features)))


def _gaussian(scans: Sequence[NDArray[np.floating]]) -> Novelty:
    from sklearn.covariance import LedoitWolf

    x = np.concatenate(scans)
    x = x[np.isfinite(x).all(axis=1)]
    scale = x.std(axis=0) + 1e-6
    precision = LedoitWolf().fit((x - x.mean(axis=0)) / scale).precision_
    lower = np.linalg.cholesky(precision) / scale[:, None]
    return Novelty(mean=[float(f"{v:.6g}") for v in x.mean(axis=0)],
                   factor=[float(f"{v:.5g}") for v in lower[np.tril_indices(len(lower))]])  # fmt: skip


class Isotonic(_Strict):
    """A rising piecewise linear map from a score to P(OOD), constant beyond its ends."""

    scores: list[float] = Field(min_length=1)
    probabilities: list[float] = Field(min_length=1)

    @classmethod
    def fit(cls, scores: Sequence[float], is_ood: Sequence[bool]) -> Isotonic:
        """Isotonic regression, both classes weighing the same.

        Probabilities stay off 0 and 1 by what so few scans can tell, 1 / (N + 2) for N twice the smaller class.
        """
        from sklearn.isotonic import IsotonicRegression

        labels = np.asarray(is_ood, dtype=bool)
        sizes = np.maximum([(~labels).sum(), labels.sum()], 1)
        edge = 1 / (2 * sizes.min() + 2)
        fit = IsotonicRegression(y_min=edge, y_max=1 - edge, out_of_bounds="clip")
        weights = 1 / sizes[labels.astype(int)]
        fit.fit(np.asarray(scores, dtype=np.float64), labels.astype(np.float64), sample_weight=weights)
        return cls(scores=[float(v) for v in fit.X_thresholds_], probabilities=[float(v) for v in fit.y_thresholds_])

    def __call__(self, score: float) -> float:
        return float(np.interp(score, self.scores, self.probabilities))


class OodCalibration(_Strict):
    """What turns the scores of a volume into P(OOD).

    Attributes:
        score: The score that P(OOD) rests on, one of :data:`SCORES`.
        n: Samples that σ̂ was measured with.
        ranges: σ̂ of in-distribution scans for each pair, written as ``T1->T2``.
        novelty: For each source contrast.
        looks: What the network's numbers mean; None where no network was asked.
        detector: Of known artefacts; None where there were none to learn from.
        probability: From ``score`` to P(OOD), for so many slices or more: few slices vary more.
    """

    score: str = "combined"
    n: int = Field(ge=1)
    ranges: dict[str, Range]
    novelty: dict[Contrast, Novelty]
    looks: Looks | None = None
    detector: Detector | None = None
    probability: dict[int, Isotonic] = Field(min_length=1)

    @property
    def of_image(self) -> bool:
        """Whether P(OOD) rests on the source image alone, not on samples."""
        return self.score in IMAGE_SCORES

    def signs(self, features: NDArray[np.floating], contrast: Contrast) -> list[Signs]:
        """(slices, features), the network's numbers last, to the signs of each slice."""
        x = np.atleast_2d(features)
        novelty, count = self.novelty.get(contrast), len(x)
        strange = novelty.slice_scores(x) if novelty else np.full(count, np.nan)
        artefact, kinds = np.full(count, np.nan), np.empty((count, 0))
        if self.detector is not None:
            kinds = self.detector.log_odds(x, contrast)
            artefact = self.detector.scores_of(kinds)
        wrong, told = np.full(count, np.nan), np.empty((count, 0))
        if self.looks is not None:
            seen = x[:, x.shape[1] - self.looks.size :]
            wrong, told = self.looks.contrast(self.looks.log_odds(seen, contrast)), seen[:, : len(self.looks.contrasts)]
        rows = zip(strange, artefact, wrong, told, kinds, strict=True)
        return [Signs(float(n), float(a), float(w), tuple(t.tolist()), tuple(k.tolist())) for n, a, w, t, k in rows]

    def scores(
        self,
        pair: str,
        n: int,
        sigma_hat: float,
        per_slice: NDArray[np.floating],
        signs: Iterable[Signs],
        antithetic: bool = True,
    ) -> dict[str, float]:
        """All :data:`SCORES` of a volume; each rises with strangeness, NaN where unknown. Last, how many ``slices``.

        Args:
            pair: ``T1->T2``.
            n: Samples taken; σ̂ is brought to :attr:`n`, as a standard deviation of few samples is small by itself.
            sigma_hat: Over the head.
            per_slice: σ̂ of the slices.
            signs: Of the slices.
            antithetic: Whether the samples are pairs, as those that σ̂ was measured with, or independent.
        """
        factor = std_bias(self.n) / std_bias(n, antithetic) if n > 1 else float("nan")
        surprise = self._sigma_score(pair, sigma_hat * factor)
        known = [s for s in signs if np.isfinite(s.novelty) or np.isfinite(s.contrast)]
        novelty, artefact, contrast = (_mean([s[i] for s in known]) for i in range(3))
        seen = [value for value in (novelty, artefact, contrast) if np.isfinite(value)]
        image = float(np.logaddexp.reduce(seen)) if np.isfinite(novelty) else float("nan")
        loudest = [value for value in (surprise, image) if np.isfinite(value)]
        return {
            "sigma_hat": sigma_hat * factor,
            "sigma_hat_max": float(np.nanmax(per_slice)) * factor if np.isfinite(per_slice).any() else float("nan"),
            "novelty": novelty,
            "artefact": artefact,
            "contrast": contrast,
            "image": image,
            "combined": max(loudest) if loudest else float("nan"),
            "slices": float(len(known)),
        }

    def reason(self, scores: Mapping[str, float], signs: Iterable[Signs], source: Contrast) -> str:
        """What speaks against a volume, in words; empty where P(OOD) is low or unknown."""
        probability = self.assess(scores)
        if probability is None or probability < VERDICTS[1][0]:
            return ""
        if self.score in RAW_SCORES or (not self.of_image and not scores["image"] >= scores[self.score]):
            return "the samples differ more than usual"
        signs = list(signs)
        clear = any(scores[name] >= least for name, least in CLEAR.items())
        known = [name for name in (CLEAR if clear else _REASONS) if np.isfinite(scores[name])]
        leading = max(known, key=lambda name: scores[name])
        other = self.looks.likeliest_other(signs, source) if self.looks and leading == "contrast" else None
        if other is not None:
            return f"looks like {other}, not {source}"
        odds = [s.kinds for s in signs if s.kinds and np.isfinite(s.kinds).all()]
        if self.detector is not None and leading == "artefact" and odds:
            return self.detector.kinds[int(np.mean(odds, axis=0).argmax())]
        return "unlike the training scans"

    def _sigma_score(self, pair: str, sigma_hat: float) -> float:
        """σ̂ in standard deviations (of its logarithm) above the middle of the pair's range."""
        known = self.ranges.get(pair)
        if known is None or not sigma_hat > 0:
            return float("nan")
        spread = max(np.log(known.high / known.low) / 3.29, 0.02)  # 5th to 95th percentile of a normal distribution
        return float(np.log(sigma_hat / known.middle) / spread)

    def assess(self, scores: Mapping[str, float]) -> float | None:
        """P(OOD) of these scores; None below :data:`FEWEST` slices, or where the score that it rests on is unknown."""
        value, slices = scores[self.score], scores["slices"]
        fitting = [count for count in self.probability if count <= slices]
        if slices < FEWEST or not fitting or not np.isfinite(value):
            return None
        return self.probability[max(fitting)](value)


def verdict(probability: float | None, scores: Mapping[str, float] | None = None) -> str:
    """P(OOD) in words; with the ``scores``, why it is unknown."""
    if probability is None:
        few = scores is not None and scores.get("slices", FEWEST) < FEWEST
        return TOO_FEW if few else "not calibrated"
    return [words for limit, words in VERDICTS if probability >= limit][-1]


def std_bias(n: int, antithetic: bool = True) -> float:
    """Expected population standard deviation of ``n`` normal samples over the true one.

    The mean of antithetic pairs is exact, so it is that of a chi distribution with n / 2 degrees of freedom, over
    sqrt(n / 2); for an odd ``n``, whose last sample has no partner, slightly too much. Of independent ones it is that
    of n - 1 degrees of freedom, over sqrt(n).
    """
    from scipy.special import gammaln

    if n < 2:
        return 0.0
    freedom, size = (n / 2, n / 2) if antithetic else (n - 1, n)
    return float(np.sqrt(2 / size) * np.exp(gammaln((freedom + 1) / 2) - gammaln(freedom / 2)))


def _mean(values: Any) -> float:
    known = np.asarray(values, dtype=np.float64)
    known = known[np.isfinite(known)]
    return float(known.mean()) if known.size else float("nan")

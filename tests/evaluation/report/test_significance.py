from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import wilcoxon

from napari_mrtrans.evaluation.report.significance import FEWEST, best, better, interval

RNG = np.random.default_rng(0)
SUBJECTS = RNG.normal(0.9, 0.02, 12)


def test_p_is_that_of_the_signed_rank_test_one_sided() -> None:
    second = SUBJECTS + RNG.normal(0, 0.01, 12)
    assert better(SUBJECTS, second) == wilcoxon(SUBJECTS, second, alternative="greater").pvalue
    assert better(SUBJECTS, SUBJECTS) == 1
    # All of n in favour: the rarest of 2^n signs.
    assert better(SUBJECTS[:6] + 0.01 * np.arange(1, 7), SUBJECTS[:6]) == pytest.approx(2**-6)


def test_a_method_ahead_in_every_subject_is_the_only_best() -> None:
    """The differences between subjects are far larger than those between methods."""
    found = best({"a": SUBJECTS, "b": SUBJECTS + 0.001 * np.arange(1, 13), "c": SUBJECTS - 0.001})
    assert found == {"b"}
    assert best({"a": SUBJECTS, "b": SUBJECTS + 0.001 * np.arange(1, 13)}, smaller=True) == {"a"}


def test_several_are_best_where_they_cannot_be_told_apart() -> None:
    sway = 0.001 * np.array([1, -1] * 6) * np.arange(1, 13)
    values = {"a": SUBJECTS + sway, "b": SUBJECTS - sway, "worse": SUBJECTS - 0.05}
    assert best(values) == {"a", "b"}
    assert best({name: values[name] for name in ("a", "b")}) == {"a", "b"}


def test_with_few_subjects_none_is_best() -> None:
    apart = {"a": SUBJECTS + 0.01 * np.arange(1, 13), "b": SUBJECTS}
    few = FEWEST - 1
    assert better(apart["a"][:few], apart["b"][:few]) > 0.05
    assert best({name: values[:few] for name, values in apart.items()}) == set()
    assert best({name: values[:FEWEST] for name, values in apart.items()}) == {"a"}
    assert best({"a": SUBJECTS}) == set()


def test_the_interval_of_the_mean_is_as_wide_as_the_normal_one() -> None:
    values = np.random.default_rng(1).normal(3, 2, 400)
    low, high = interval(values)
    half = 1.96 * values.std() / 20
    assert (low, high) == pytest.approx((values.mean() - half, values.mean() + half), abs=0.03)


def test_intervals_of_one_and_of_equal_values() -> None:
    assert interval([0.9]) is None
    assert interval([0.9, 0.9, 0.9]) == pytest.approx((0.9, 0.9))


@pytest.mark.parametrize("subjects", [2, 4, 8])
def test_intervals_of_few_subjects_hold_the_mean_as_often_as_they_say(subjects: int) -> None:
    draws = np.random.default_rng(0).normal(3, 2, (1000, subjects))
    held = [low <= 3 <= high for low, high in (interval(values) for values in draws)]
    assert np.mean(held) == pytest.approx(0.95, abs=0.02)

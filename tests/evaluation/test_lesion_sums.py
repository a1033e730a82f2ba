from __future__ import annotations

import numpy as np
import pytest

from napari_mrtrans.evaluation.lesion_sums import pearson, sums

RNG = np.random.default_rng(0)


def test_sums_pool_to_the_correlation_over_all_voxels() -> None:
    people = [(rng_p := RNG.random(40), 0.5 * rng_p + 0.1 * RNG.random(40) + shift) for shift in (0.0, 0.4, 0.2)]
    inside = np.arange(40) % 3 > 0
    pooled = np.corrcoef(*(np.concatenate([pair[i][inside] for pair in people]) for i in (0, 1)))[0, 1]
    assert pearson([sums(p, t, inside) for p, t in people]) == pytest.approx(pooled, abs=1e-9)


def test_too_few_voxels_or_no_contrast_have_none() -> None:
    p, inside = RNG.random(5), np.ones(5, dtype=bool)
    assert pearson([]) is None
    assert pearson([sums(p[:2], p[:2], inside[:2])]) is None
    assert pearson([sums(p, np.full(5, 0.7), inside)]) is None

from __future__ import annotations

from math import exp, log

import numpy as np
import pytest

from napari_mrtrans.datasets.signals import (
    TISSUES,
    Tissue,
    draw_sequences,
    draw_tissues,
    gradient_echo,
    inversion_recovery,
    null_time,
    spin_echo,
    vary,
)
from napari_mrtrans.scan.contrasts import Contrast

WHITE = Tissue(500.0, 70.0, 61.0, 0.77)
FLUID = Tissue(2569.0, 329.0, 58.0, 1.0)
NEVER = 1e9


def test_spin_echo_limits() -> None:
    assert spin_echo(WHITE, NEVER, 0) == pytest.approx(0.77)  # proton density alone
    assert spin_echo(WHITE, NEVER, 70) == pytest.approx(0.77 / exp(1))
    assert spin_echo(WHITE, 500 * log(2), 0) == pytest.approx(0.77 / 2)
    assert spin_echo(WHITE, 500, 35) == pytest.approx(0.77 * (1 - exp(-1)) * exp(-0.5))


def test_inversion_recovery_limits() -> None:
    assert inversion_recovery(WHITE, NEVER, 0, NEVER / 2) == pytest.approx(0.77)
    assert inversion_recovery(WHITE, NEVER, 0, 0) == pytest.approx(-0.77)  # inverted
    assert inversion_recovery(FLUID, NEVER, 100, 2569 * log(2)) == pytest.approx(0, abs=1e-9)
    assert inversion_recovery(WHITE, NEVER, 70, 500 * log(4)) == pytest.approx(0.77 / 2 / exp(1))


@pytest.mark.parametrize("tr", [3000.0, 6000.0, 11000.0])
def test_a_tissue_is_nulled_at_every_tr(tr: float) -> None:
    assert inversion_recovery(FLUID, tr, 100, null_time(2569, tr)) == pytest.approx(0, abs=1e-9)
    assert null_time(2569, NEVER) == pytest.approx(2569 * log(2))
    assert null_time(2569, tr) < 2569 * log(2)


def test_gradient_echo_limits() -> None:
    assert gradient_echo(WHITE, 20, 0, 90) == pytest.approx(0.77 * (1 - exp(-20 / 500)))
    assert gradient_echo(WHITE, NEVER, 61, 30) == pytest.approx(0.77 * 0.5 / exp(1))
    flips = np.linspace(1, 89, 881)
    ernst = np.rad2deg(np.arccos(exp(-20 / 500)))  # the flip angle of most signal
    assert flips[np.argmax([gradient_echo(WHITE, 20, 5, flip) for flip in flips])] == pytest.approx(ernst, abs=0.1)


def test_regional_differences_are_log_factors() -> None:
    varied = vary(WHITE, np.log([1.0, 1.5]), np.log([1.0, 0.5]))
    np.testing.assert_allclose(varied.t1, [500, 750])
    np.testing.assert_allclose(varied.t2, [70, 35])
    np.testing.assert_allclose(varied.t2_star, [61, 30.5])
    np.testing.assert_allclose(
        spin_echo(varied, 500, 10), [spin_echo(WHITE, 500, 10), 0.77 * (1 - exp(-1 / 1.5)) * exp(-10 / 35)]
    )


def test_tissues_lie_around_their_values() -> None:
    drawn = [draw_tissues(np.random.default_rng(i)) for i in range(300)]
    for name, (low, high) in TISSUES.items():
        t1 = np.array([tissues[name].t1 for tissues in drawn])
        assert np.median(t1) == pytest.approx((low.t1 * high.t1) ** 0.5, rel=0.1)
        assert t1.min() > 0.8 * min(low.t1, high.t1)
        assert t1.max() < 1.25 * max(low.t1, high.t1)


@pytest.mark.parametrize("seed", range(40))
def test_every_protocol_orders_the_tissues(seed: int) -> None:
    rng = np.random.default_rng(seed)
    tissues = draw_tissues(rng)
    signal = {
        contrast: {name: float(sequence(tissue)) for name, tissue in tissues.items()}
        for contrast, sequence in draw_sequences(tissues, rng).items()
    }
    t1, t2, flair = (signal[c] for c in (Contrast.T1, Contrast.T2, Contrast.FLAIR))
    assert t1["white"] > t1["cortex"] > t1["fluid"]
    assert t1["white"] > t1["plaque"]
    assert t2["fluid"] > t2["cortex"] > t2["white"]
    assert t2["plaque"] > t2["white"]
    assert flair["plaque"] > flair["white"] > flair["fluid"]
    assert signal[Contrast.PD]["cortex"] > signal[Contrast.PD]["white"]

"""Tissue constants, and the signal equations of the pulse sequences that show them (times in milliseconds).

Cortex, white matter and fluid at 1.5 T have BrainWeb's values (Kwan 1999, 10.1109/42.816072; Collins 1998,
10.1109/42.712135), cortex and white matter at 3 T the T1 and T2 of Stanisz 2005 (10.1002/mrm.20605), but for the T2 of
cortex, 85 for 99: with 99, grey and white matter differ more on T2-weighted images than in the scans we compared with.
The rest are round figures of ours: fluid and T2* at 3 T, deep grey matter (between cortex and white matter, T2
shortened by iron), pathological tissue (T1 and T2 longer than white matter's), and the spread between subjects.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from ..scan.contrasts import Contrast

Values = float | NDArray[np.floating]


@dataclass(frozen=True)
class Tissue:
    """Relaxation times in ms and proton density relative to water, each one number or one for each voxel."""

    t1: Values
    t2: Values
    t2_star: Values
    pd: Values


Equation = Callable[[Tissue], Values]

#: Values at 1.5 T and at 3 T.
TISSUES: dict[str, tuple[Tissue, Tissue]] = {
    "cortex": (Tissue(833, 83, 69, 0.86), Tissue(1820, 85, 60, 0.86)),
    "deep": (Tissue(720, 76, 60, 0.83), Tissue(1450, 76, 45, 0.83)),
    "white": (Tissue(500, 70, 61, 0.77), Tissue(1084, 69, 53, 0.77)),
    "fluid": (Tissue(2569, 329, 58, 1.0), Tissue(4000, 1000, 58, 1.0)),
    "plaque": (Tissue(1000, 170, 110, 0.8), Tissue(1550, 180, 90, 0.8)),
    "oedema": (Tissue(1000, 150, 100, 0.82), Tissue(1600, 170, 90, 0.82)),
    "core": (Tissue(1200, 150, 90, 0.85), Tissue(1800, 170, 80, 0.85)),
}


def spin_echo(tissue: Tissue, tr: float, te: float) -> Values:
    """PD (1 - exp(-TR/T1)) exp(-TE/T2), for TE << TR (Bernstein 2004, Handbook of MRI Pulse Sequences)."""
    return tissue.pd * (1 - np.exp(-tr / tissue.t1)) * np.exp(-te / tissue.t2)


def inversion_recovery(tissue: Tissue, tr: float, te: float, ti: float) -> Values:
    """PD (1 - 2 exp(-TI/T1) + exp(-TR/T1)) exp(-TE/T2): spin-echo readout (same source). Below 0 what is inverted
    still; the magnitude is taken of what a voxel holds together."""
    recovered = 1 - 2 * np.exp(-ti / tissue.t1) + np.exp(-tr / tissue.t1)
    return tissue.pd * recovered * np.exp(-te / tissue.t2)


def gradient_echo(tissue: Tissue, tr: float, te: float, flip_deg: float) -> Values:
    """PD sin a (1 - E1) / (1 - cos a E1) exp(-TE/T2*), E1 = exp(-TR/T1): spoiled steady state (same source)."""
    flip, e1 = np.deg2rad(flip_deg), np.exp(-tr / tissue.t1)
    return tissue.pd * np.sin(flip) * (1 - e1) / (1 - np.cos(flip) * e1) * np.exp(-te / tissue.t2_star)


def null_time(t1: float, tr: float) -> float:
    """The TI at which :func:`inversion_recovery` gives nothing of a tissue: T1 (ln 2 - ln(1 + exp(-TR/T1)))."""
    return float(t1 * (np.log(2) - np.log1p(np.exp(-tr / t1))))


def draw_tissues(rng: np.random.Generator) -> dict[str, Tissue]:
    """The tissues of one subject in one scanner, from 1.5 to 3 T, with a log-normal spread in common and of each."""
    field = rng.random()
    common_t1, common_t2 = rng.normal(0, (0.05, 0.08))

    def draw(low: Values, high: Values, common: float, spread: float) -> float:
        return float(low ** (1 - field) * high**field * np.exp(rng.normal(common, spread)))

    return {
        name: Tissue(
            draw(low.t1, high.t1, common_t1, 0.03),
            draw(low.t2, high.t2, common_t2, 0.05),
            draw(low.t2_star, high.t2_star, common_t2, 0.05),
            draw(low.pd, high.pd, 0, 0.015),
        )
        for name, (low, high) in TISSUES.items()
    }


def draw_sequences(tissues: dict[str, Tissue], rng: np.random.Generator) -> dict[Contrast, Equation]:
    """A clinical protocol: T1 by spin echo, gradient echo or inversion recovery; FLAIR within 10 % of dark fluid."""
    grey, fluid = float(tissues["cortex"].t1), float(tissues["fluid"].t1)
    by_t1: tuple[Equation, ...] = (
        partial(spin_echo, tr=rng.uniform(400, 700), te=rng.uniform(8, 15)),
        partial(gradient_echo, tr=rng.uniform(15, 30), te=rng.uniform(3, 8), flip_deg=rng.uniform(20, 35)),
        partial(inversion_recovery, tr=rng.uniform(3000, 5000), te=rng.uniform(3, 10), ti=grey * rng.uniform(1, 1.3)),
    )
    tr = rng.uniform(6000, 11000)
    ti = null_time(fluid, tr) * rng.uniform(0.9, 1.1)
    return {
        Contrast.T1: by_t1[int(rng.integers(3))],
        Contrast.T2: partial(spin_echo, tr=rng.uniform(3000, 6500), te=rng.uniform(70, 120)),
        Contrast.PD: partial(spin_echo, tr=grey * rng.uniform(2.8, 5), te=rng.uniform(8, 30)),
        Contrast.FLAIR: partial(inversion_recovery, tr=tr, te=rng.uniform(80, 130), ti=ti),
    }


def vary(tissue: Tissue, t1: NDArray[np.floating], t2: NDArray[np.floating]) -> Tissue:
    """The tissue with regional differences: log factors of its T1, and of its T2 and T2*, for each voxel."""
    t2 = np.exp(t2)
    return replace(tissue, t1=tissue.t1 * np.exp(t1), t2=tissue.t2 * t2, t2_star=tissue.t2_star * t2)

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from napari_mrtrans.ood import artefact_traces, image_quality
from napari_mrtrans.ood.artefact_traces import DISTANCES, NAMES, steps, traces
from napari_mrtrans.ood.slice_quality import NAMES as ALL
from napari_mrtrans.ood.slice_quality import slice_quality


def brain(shape: tuple[int, int, int] = (9, 144, 128), seed: int = 0) -> np.ndarray:
    """An ellipse of tissue with folds that no shift repeats, changing slowly from slice to slice."""
    _, y, x = np.meshgrid(*(np.linspace(-1, 1, n) for n in shape), indexing="ij")
    folds = ndimage.gaussian_filter(np.random.default_rng(seed).standard_normal(shape), (6, 2, 2))
    tissue = 0.5 + 0.1 * folds / folds.std()
    return np.where((y / 0.9) ** 2 + (x / 0.85) ** 2 < 1, np.clip(tissue, 0.05, 1), 0).astype(np.float32)


def value(volume: np.ndarray, name: str, index: int = 4) -> float:
    neighbours = [(volume[index - step], volume[index + step]) for step in steps(1.0)]
    return float(traces(volume[index], neighbours)[NAMES.index(name)])


def ghosted(volume: np.ndarray, axis: int, shift: int, strength: float) -> np.ndarray:
    twins = np.roll(volume, shift, axis) + np.roll(volume, -shift, axis)
    return np.where(volume > 0, np.clip(volume + strength * twins, 1e-3, None), 0).astype(np.float32)


@pytest.mark.parametrize(("axis", "name", "other"), [(1, "rows", "columns"), (2, "columns", "rows")])
@pytest.mark.parametrize("strength", [0.2, -0.2])
def test_a_ghost_is_a_repeated_edge_along_its_own_axis(axis: int, name: str, other: str, strength: float) -> None:
    plain = brain()
    ghost = ghosted(plain, axis, 30, strength)
    assert value(ghost, f"repeated edges, {name}") > value(plain, f"repeated edges, {name}") + 0.3
    assert value(ghost, f"repeated edges, {name}") > value(ghost, f"repeated edges, {other}") + 0.3
    assert value(ghost, "repeated edges, one axis") > 0.3


def test_the_shift_of_a_ghost_is_where_the_correlation_peaks() -> None:
    image = ghosted(brain(), 1, 30, 0.2)[4]
    edges = ndimage.gaussian_laplace(image, 1.0)
    deep = ndimage.binary_erosion(image > 0, iterations=4)
    forth, back = artefact_traces._shifted_correlation(edges, deep, 0)
    low = artefact_traces._SHIFTS[0]
    assert low + int(np.abs(forth + back).argmax()) == 30


def test_detail_without_edges_comes_from_another_position_of_the_head() -> None:
    """Between slices a still head changes at its edges; k-space lines of another position change flat tissue too."""
    plain = brain()
    moved = np.where(plain > 0, ndimage.rotate(plain, 10, axes=(1, 2), reshape=False, order=1), 0)
    high = moved - ndimage.gaussian_filter1d(moved, 2, axis=0)
    mixed = np.where(plain > 0, np.clip(ndimage.gaussian_filter1d(plain, 2, axis=0) + 6 * high, 1e-3, 1), 0)
    assert value(mixed.astype(np.float32), "through 1 mm, correlation") < value(plain, "through 1 mm, correlation")
    assert value(mixed.astype(np.float32), "through 1 mm, detail") > value(plain, "through 1 mm, detail")


def test_identical_neighbours_leave_no_detail() -> None:
    still = np.repeat(brain()[4:5], 9, axis=0)
    assert value(still, "through 2 mm, detail") == pytest.approx(np.log(1e-4), abs=0.1)
    assert value(still, "through 2 mm, correlation") == 0
    assert value(still, "through 2 mm, decorrelation") == pytest.approx(np.log(1e-4), abs=0.1)


def test_blur_along_one_axis_shows_in_its_direction() -> None:
    plain = brain()
    blurred = ndimage.gaussian_filter1d(plain, 2, axis=1) * (plain > 0)
    assert value(blurred, "rows/columns at 1 pixels") < value(plain, "rows/columns at 1 pixels") - 0.3


@pytest.mark.parametrize(("spacing", "expected"), [(1.0, (1, 2, 4)), (0.5, (2, 4, 8)), (4.0, (1, 1, 1))])
def test_neighbours_lie_at_distances_in_mm(spacing: float, expected: tuple[int, ...]) -> None:
    assert steps(spacing) == expected


def test_slices_beyond_the_ends_are_the_last_ones() -> None:
    volume = brain()
    asked: list[int] = []

    def read(index: int) -> np.ndarray:
        asked.append(index)
        return volume[index]

    found = slice_quality(read, 1, len(volume), 1.0)
    assert min(asked) == 0 and max(asked) == 5
    assert found.shape == (len(ALL),) and np.isfinite(found).all()
    np.testing.assert_array_equal(found[: len(image_quality.NAMES)], image_quality.features(volume[1]))


def test_almost_no_head_has_no_traces() -> None:
    tiny = np.zeros((40, 40), np.float32)
    tiny[:3, :3] = 1
    assert np.isnan(traces(tiny, [(tiny, tiny)] * len(DISTANCES))).all()


@pytest.mark.parametrize("image", [np.full((40, 40), 0.5, np.float32), np.eye(64, dtype=np.float32)])
def test_odd_heads_give_finite_numbers(image: np.ndarray) -> None:
    assert np.isfinite(traces(image, [(image, np.zeros_like(image))] * len(DISTANCES))).all()

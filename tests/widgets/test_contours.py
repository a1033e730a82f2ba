"""Contour lines."""

from __future__ import annotations

import numpy as np

from napari_mrtrans.widgets.contours import Contours


def test_lines_lie_on_the_inner_border_of_what_reaches_a_level() -> None:
    data = np.zeros((3, 40, 40), np.float32)
    edge = np.minimum(np.arange(40), np.arange(40)[::-1])  # voxels from the border
    data[1] = 0.25 * np.clip(np.minimum(edge[:, None], edge) / 16, 0, 1)
    data[2] = np.nan
    lines = Contours(data, 0.1)
    drawn = lines[1]
    assert drawn.dtype == lines.dtype and drawn.shape == (40, 40)
    row = drawn[20]
    assert row[:20].tolist() == row[::-1][:20].tolist()
    # From outside in: a line at each level, at most a voxel thick, and nothing beyond the last.
    assert [int(value) for value in row[:20] if value] == [1, 2]
    assert drawn[20, 20] == 0 == drawn[0, 0]
    assert not lines[0].any() and not lines[2].any()


def test_a_lower_step_reaches_more_levels() -> None:
    ramp = np.tile(np.linspace(0, 1, 50, dtype=np.float32), (50, 1))
    lines = Contours(ramp, 0.3)
    assert sorted(set(lines[:].ravel().tolist())) == [0, 1, 2, 3]
    first = np.flatnonzero(lines[:][25] == 1)
    lines.step = 0.15
    assert np.flatnonzero(lines[:][25] == 1)[0] < first[0]


def test_napari_may_ask_for_all_of_it_or_one_voxel() -> None:
    data = np.full((4, 5, 6), 0.25, np.float32)
    lines = Contours(data, 0.1)
    assert np.asarray(lines).shape == data.shape and not np.asarray(lines).any()
    assert int(lines[1, 2, 3]) == 2

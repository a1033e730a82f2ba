"""An array of slices is indexed as numpy would index it, and holds those that are there alone."""

from __future__ import annotations

import numpy as np
import pytest

from napari_mrtrans.widgets.sparse import SparseSlices

SHAPE = (3, 6, 4, 5)


@pytest.fixture
def both() -> tuple[SparseSlices, np.ndarray]:
    """Slices 1 and 4 along the second axis, and the same as an array."""
    sparse, whole = SparseSlices(SHAPE, 1), np.full(SHAPE, np.nan, np.float32)
    for index in (1, 4):
        whole[:, index] = np.random.default_rng(index).random((3, 4, 5))
        sparse.put(index, whole[:, index].copy())
    return sparse, whole


@pytest.mark.parametrize(
    "key",
    [
        2,
        np.int64(1),
        (0, 4),
        (0, 3),
        (slice(None), 1),
        (1, slice(None), 2),
        (1, slice(None), slice(None), 3),
        (0, slice(4, 0, -1), slice(1, 3)),
        (slice(1, 3), slice(1, 2), slice(None), slice(None, None, 2)),
        (0, -2, 1, 1),
        (slice(None), slice(2, 2)),
        ([0, 2], 1),
    ],
)
def test_indexing_is_numpys(both, key) -> None:
    sparse, whole = both
    np.testing.assert_array_equal(sparse[key], whole[key])


def test_the_whole_of_it(both) -> None:
    sparse, whole = both
    assert (sparse.shape, sparse.ndim, sparse.dtype) == (whole.shape, whole.ndim, whole.dtype)
    np.testing.assert_array_equal(np.asarray(sparse), whole)
    np.testing.assert_array_equal(sparse.filled(0), np.nan_to_num(whole))


def test_nobody_else_writes_it(both) -> None:
    sparse, _ = both
    with pytest.raises(ValueError, match="read-only"):
        sparse[0] = 1
    with pytest.raises(ValueError, match="read-only"):
        sparse[:, 1][0] = 1

"""An array of slices is indexed as numpy would index it, and holds those that are there alone."""

from __future__ import annotations

from copy import deepcopy
from types import SimpleNamespace

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Image
from napari.layers._layer_actions import _convert_to_labels

from napari_mrtrans.widgets.contours import Contours
from napari_mrtrans.widgets.sparse import SparseSlices
from napari_mrtrans.widgets.transform.film import Morph

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


@pytest.fixture(params=["slices", "film", "contours"])
def lazy(request, both):
    """Each kind of array that is made when it is looked at, and numpy's."""
    sparse, whole = both
    if request.param == "slices":
        return sparse, whole
    if request.param == "film":
        mean = SimpleNamespace(data=np.nan_to_num(whole[0]))
        layers = SimpleNamespace(mean=mean, n_kept=0, viewer=(part for part in ()))  # a generator cannot be copied
        return Morph(SimpleNamespace(layers=layers)), np.nan_to_num(whole[0])
    lines = Contours(whole[0], 0.2)
    return lines, lines[...]


def test_a_layer_of_it_can_be_duplicated(lazy) -> None:
    array, whole = lazy
    np.testing.assert_array_equal(np.asarray(deepcopy(array)), whole)


def test_the_console_takes_it_for_an_array(lazy) -> None:
    array, whole = lazy
    assert (len(array), array.nbytes) == (len(whole), whole.nbytes)
    for one in (
        lambda a: a.mean(axis=0),
        lambda a: a * 2,
        lambda a: 1 - a,
        lambda a: a > 0,
        lambda a: a.T,
        np.sqrt,
        lambda a: a.copy(),
        lambda a: a.astype(float),
        lambda a: a.max(),
        lambda a: a + a,
        np.nanmean,
    ):
        np.testing.assert_array_equal(one(array), one(whole))
    assert not hasattr(array, "compute") and not hasattr(array, "__array_interface__")


def test_nothing_of_it_is_written(lazy) -> None:
    array, whole = lazy
    for write in (
        lambda a: a.fill(7),
        lambda a: a.T.__setitem__(0, 7),
        lambda a: a.__setitem__(0, 7),
        lambda a: a.sort(),
    ):
        with pytest.raises(ValueError, match="read-only"):
            write(array)
    with pytest.raises(ValueError, match="read-only"):
        np.add(whole, 1, out=array)
    np.testing.assert_array_equal(np.asarray(array), whole)


@pytest.mark.filterwarnings("ignore:invalid value")
def test_napari_makes_labels_of_it(lazy) -> None:
    array, whole = lazy
    viewer = ViewerModel()
    viewer.layers.selection = {viewer.add_layer(Image(array, contrast_limits=(0, 1)))}
    _convert_to_labels(viewer.layers)
    np.testing.assert_array_equal(np.asarray(viewer.layers[-1].data), whole.astype(int))

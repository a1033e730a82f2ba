from __future__ import annotations

import numpy as np
import pytest

from napari_mrtrans.follow.slice_cache import SliceCache
from napari_mrtrans.transformation.streaming import SliceUpdate


def a_slice(index: int, *, calibrated: bool = False) -> SliceUpdate:
    """A slice of 4 x 4 voxels: 64 bytes an image, and 20 samples that are not to be kept."""
    image = np.full((4, 4), index, np.float32)
    return SliceUpdate(
        index, image, image.copy(), image.copy(), np.stack([image] * 20), 0.1, 16, 1, 2,
        image.copy() if calibrated else None,
    )  # fmt: skip


def indices(cache: SliceCache, key: object) -> list[int]:
    return [update.index for update in cache.of(key)]


def test_slices_come_back_under_their_own_key_without_samples() -> None:
    cache = SliceCache()
    cache.put("flow", a_slice(3))
    cache.put("direct", a_slice(4))
    (kept,) = cache.of("flow")
    assert kept.index == 3
    assert kept.samples is None
    assert kept.median is None
    np.testing.assert_array_equal(kept.mean, np.full((4, 4), 3))
    assert cache.of("ddpm") == []


def test_what_was_not_used_for_longest_makes_room() -> None:
    cache = SliceCache(limit=4 * 128)
    for index in range(3):
        cache.put("a", a_slice(index))
    cache.put("b", a_slice(9))
    assert indices(cache, "a") == [0, 1, 2]  # used now, so b is the oldest
    cache.put("a", a_slice(3))
    assert indices(cache, "b") == []
    assert indices(cache, "a") == [0, 1, 2, 3]
    cache.put("a", a_slice(4))
    assert indices(cache, "a") == [1, 2, 3, 4]
    assert cache.bytes == 4 * 128


@pytest.mark.parametrize("calibrated, size", [(False, 128), (True, 192)])
def test_bytes_are_those_of_the_images_that_are_shown(calibrated: bool, size: int) -> None:
    cache = SliceCache()
    cache.put("a", a_slice(0, calibrated=calibrated))
    cache.put("a", a_slice(0, calibrated=calibrated))
    assert cache.bytes == size
    assert len(cache) == 1


def test_a_slice_larger_than_the_limit_is_not_kept() -> None:
    cache = SliceCache(limit=100)
    cache.put("a", a_slice(0))
    assert len(cache) == cache.bytes == 0

"""Finished slices of several models and settings, as many as fit a number of bytes."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import replace
from threading import Lock
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..transformation.streaming import SliceUpdate

#: About 700 slices of 256 x 256 voxels.
LIMIT_BYTES = 512 * 2**20


class SliceCache:
    """Slices by what they depend on and their index; those not used for longest make room. Safe from several threads.

    Samples and medians are not kept: they are many times larger than what is shown of a slice.

    Args:
        limit: Bytes of all arrays together.
    """

    def __init__(self, limit: int = LIMIT_BYTES) -> None:
        self._limit = limit
        self._lock = Lock()
        self._slices: OrderedDict[tuple[Hashable, int], SliceUpdate] = OrderedDict()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._slices)

    @property
    def bytes(self) -> int:
        """Bytes in use."""
        return self._bytes

    def put(self, key: Hashable, update: SliceUpdate) -> None:
        """Keep a finished slice."""
        kept = replace(update, samples=None, median=None)
        with self._lock:
            self._forget((key, update.index))
            self._slices[key, update.index] = kept
            self._bytes += _size(kept)
            while self._bytes > self._limit:
                self._forget(next(iter(self._slices)))

    def of(self, key: Hashable) -> list[SliceUpdate]:
        """All slices kept under ``key``, which count as used now."""
        with self._lock:
            mine = [place for place in self._slices if place[0] == key]
            for place in mine:
                self._slices.move_to_end(place)
            return [self._slices[place] for place in mine]

    def _forget(self, place: tuple[Hashable, int]) -> None:
        old = self._slices.pop(place, None)
        if old is not None:
            self._bytes -= _size(old)


def _size(update: SliceUpdate) -> int:
    images = (update.mean, update.std, update.calibrated_std)
    return sum(image.nbytes for image in images if image is not None)

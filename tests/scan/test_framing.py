from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from numpy.typing import NDArray
from pydantic import ValidationError

from helpers import head
from napari_mrtrans.scan.framing import STEP, Box, Framing, extent
from napari_mrtrans.scan.grid import SliceGrid

RNG = np.random.default_rng(0)
#: First and past-last row, and column.
Place = tuple[int, int, int, int]


def slice_with_head(shape: tuple[int, int], place: Place) -> NDArray[np.float32]:
    """A textured rhombus that touches all four sides of ``place``, in exact zeros."""
    top, bottom, left, right = place
    rows, columns = (np.abs(np.linspace(-1, 1, n)) if n > 1 else np.zeros(1) for n in (bottom - top, right - left))
    inside = np.minimum.outer(rows, columns) <= 0.5
    image = np.zeros(shape, np.float32)
    image[top:bottom, left:right] = inside * RNG.uniform(0.1, 1, inside.shape)
    return image


def sides(box: Box) -> list[tuple[int, int]]:
    return [(side.start, side.stop) for side in box]


SMALL = Framing(rows=32, columns=32)
TIGHT, WIDE = (SMALL.model_copy(update={"margin": margin}) for margin in (0, 9))
FRAMINGS = [SMALL, TIGHT, WIDE, Framing(), Framing(rows=80, columns=48), Framing(rows=40, columns=16, margin=0)]
PLACES: list[Place] = [
    (20, 60, 30, 50), (0, 1, 0, 1), (0, 17, 95, 96), (79, 96, 0, 33), (0, 96, 0, 96), (3, 90, 47, 48), (40, 55, 2, 94),
]  # fmt: skip


@pytest.mark.parametrize("step", [STEP, 32, 48])
@pytest.mark.parametrize("framing", FRAMINGS)
@pytest.mark.parametrize("place", PLACES)
def test_a_frame_is_around_the_head(place: Place, framing: Framing, step: int) -> None:
    image = framing.pad(slice_with_head((96, 96), place), step)
    box = framing.box(image, step)
    ends = extent(image)
    for (start, stop), (low, high), size, least in zip(sides(box), ends, image.shape, framing.least, strict=True):
        length = stop - start
        assert 0 <= start <= low < high <= stop <= size
        assert length % step == 0
        assert length >= least
        wanted = max(high - low + framing.margin, least)
        assert length >= min(wanted, size)
        assert length - step < wanted  # no larger than need be
        before, after = low - start, stop - high
        # In the middle, unless the image ends before.
        assert before - after <= 1 or stop == size
        assert before - after >= 0 or start == 0


def test_the_frame_of_a_few_heads_by_hand() -> None:
    assert sides(SMALL.box(slice_with_head((96, 96), (20, 60, 30, 50)))) == [(16, 64), (24, 56)]
    assert sides(SMALL.box(slice_with_head((96, 96), (20, 65, 30, 57)))) == [(10, 74), (27, 59)]  # 45 + 4, 27 + 4
    assert sides(TIGHT.box(slice_with_head((96, 96), (20, 68, 30, 62)))) == [(20, 68), (30, 62)]
    assert sides(SMALL.box(slice_with_head((96, 96), (0, 20, 80, 96)))) == [(0, 32), (64, 96)]
    assert sides(Framing(rows=40, columns=32).box(slice_with_head((96, 96), (40, 50, 40, 50)))) == [(21, 69), (29, 61)]


def test_a_slice_without_head_has_a_frame_too() -> None:
    assert extent(np.zeros((48, 64), np.float32)) == [(0, 1), (0, 1)]
    assert sides(Framing(rows=48, columns=32).box(np.zeros((48, 64), np.float32))) == [(0, 48), (0, 32)]


def test_extent_is_where_the_head_begins_and_ends() -> None:
    image = np.zeros((9, 12), np.float32)
    image[2, 5] = image[6, 3] = 0.1
    assert extent(image) == [(2, 7), (3, 6)]


@pytest.mark.parametrize("offset", list(product((0, 1, 16, 37), (0, 7, 40))))
@pytest.mark.parametrize("larger", [(0, 0), (1, 9), (64, 80)])
@pytest.mark.parametrize("framing", FRAMINGS)
def test_what_is_seen_does_not_depend_on_the_field_of_view(
    framing: Framing, larger: tuple[int, int], offset: tuple[int, int]
) -> None:
    """The same head anywhere in any larger image, as long as the frame has room around it."""
    room = 40
    image = np.pad(slice_with_head((50, 44), (1, 49, 0, 44)), room)
    around = [(lead, more) for lead, more in zip(offset, larger, strict=True)]
    first, second = framing.pad(image), framing.pad(np.pad(image, around))
    np.testing.assert_array_equal(first[framing.box(first)], second[framing.box(second)])


@pytest.mark.parametrize("framing", FRAMINGS)
@pytest.mark.parametrize("before", [(0, 0, 0), (2, 5, 11), (0, 30, 1)])
@pytest.mark.parametrize("after", [(0, 0, 0), (3, 8, 20)])
def test_what_is_seen_of_a_volume_does_not_depend_on_its_field_of_view(
    framing: Framing, before: tuple[int, int, int], after: tuple[int, int, int]
) -> None:
    """Heads that touch the edge of the scan, too: the model's grid goes on beyond it."""
    data = head((40, 48, 20)).transpose(2, 1, 0)
    mask = data > 0
    cut = tuple(slice(hit.min(), hit.max() + 1) for hit in np.nonzero(mask))
    data = data[cut] / data.max()
    frames = []
    for margins in ((0, 0, 0), (0, 0, 0)), (before, after):
        given = np.pad(data, list(zip(*margins, strict=True)))
        grid = SliceGrid.fit(given > 0, (1.0, 1.0), 1.0, STEP, framing.least)
        images = [grid.to_model(image) for image in given if image.any()]
        assert all(framing.pad(image).shape == grid.shape for image in images)  # nothing to add
        frames.append([image[framing.box(image)] for image in images])
    for first, second in zip(*frames, strict=True):
        np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize("shape", [(1, 1), (31, 32), (48, 33), (100, 20), (96, 96)])
@pytest.mark.parametrize("framing", FRAMINGS)
@pytest.mark.parametrize("step", [STEP, 32])
def test_padding_is_black_even_and_no_more_than_needed(shape: tuple[int, int], framing: Framing, step: int) -> None:
    image = RNG.uniform(0.1, 1, (3, *shape)).astype(np.float32)
    padded = framing.pad(image, step)
    assert padded.dtype == np.float32 and len(padded) == 3
    for size, now, least in zip(shape, padded.shape[1:], framing.least, strict=True):
        assert now % step == 0 and now >= max(size, least) > now - step
    (top, bottom), (left, right) = framing.margins(shape, step)
    assert 0 <= bottom - top <= 1 and 0 <= right - left <= 1
    assert padded.shape[1:] == (top + shape[0] + bottom, left + shape[1] + right)
    np.testing.assert_array_equal(padded[:, top : top + shape[0], left : left + shape[1]], image)
    assert np.count_nonzero(padded) == image.size
    np.testing.assert_array_equal(framing.pad(image[0], step), padded[0])
    assert framing.pad(padded, step).shape == padded.shape


@pytest.mark.parametrize("values", [{"rows": 15}, {"columns": 0}, {"margin": -1}, {"height": 64}])
def test_what_is_no_framing_is_refused(values: dict[str, int]) -> None:
    with pytest.raises(ValidationError):
        Framing(**values)


def test_a_framing_does_not_change() -> None:
    framing = Framing(rows=64, columns=32)
    with pytest.raises(ValidationError):
        framing.rows = 32
    assert framing.least == (64, 32)
    assert Framing.model_validate_json(framing.model_dump_json()) == framing

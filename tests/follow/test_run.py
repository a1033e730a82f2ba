from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import helpers
from helpers import RAS, head, spoil, tiny_checkpoint
from napari_mrtrans import Contrast, MrtransError, SliceUpdate, Volume, stream
from napari_mrtrans.checkpoints.checkpoint import Checkpoint
from napari_mrtrans.checkpoints.pool import make_pool
from napari_mrtrans.errors import OutOfMemory
from napari_mrtrans.follow.run import PREVIEW_SAMPLES, Followed, follow
from napari_mrtrans.follow.scheduling import Scheduler
from napari_mrtrans.follow.slice_cache import SliceCache
from napari_mrtrans.transformation.request import Request

N = 6


@pytest.fixture(scope="module")
def flow(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    return tiny_checkpoint(tmp_path_factory.mktemp("flow") / "tiny-flow.safetensors")


@pytest.fixture(scope="module")
def direct(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    return tiny_checkpoint(tmp_path_factory.mktemp("direct") / "tiny-direct.safetensors", "direct")


@pytest.fixture
def request_(flow: Checkpoint) -> Followed:
    return Followed(Volume(head(), RAS, Contrast.T1, "brain_T1w"), flow, Request(Contrast.T2, n=N))


class Session:
    """Following with the test as the user."""

    def __init__(self, request: Followed, cache: SliceCache | None = None, index: int = 10, **options: Any) -> None:
        self.scheduler = Scheduler(reach=1)
        self.scheduler.look_at(10)
        self.cache = SliceCache() if cache is None else cache
        self._slices: Iterator[SliceUpdate] = follow(request, self.scheduler, self.cache, **options)

    def see(self, count: int) -> list[tuple[int, bool]]:
        """The next so many slices, as (index, preview)."""
        return [(update.index, update.preview) for update in self.take(count)]

    def take(self, count: int) -> list[SliceUpdate]:
        return [next(self._slices) for _ in range(count)]

    def end(self) -> list[SliceUpdate]:
        """What still comes after the scheduler is closed."""
        self.scheduler.close()
        return list(self._slices)


def test_a_preview_then_the_slice_exactly_as_a_run_gives_it(request_: Followed) -> None:
    session = Session(request_)
    preview, finished = session.take(2)
    (expected,) = stream(request_.volume, request_.checkpoint, target="T2", n=N, slices=(10, 11))
    assert (preview.preview, finished.preview) == (True, False)
    assert preview.index == finished.index == 10
    np.testing.assert_allclose(finished.mean, expected.mean, atol=2e-5)
    np.testing.assert_allclose(finished.std, expected.std, atol=2e-5)
    assert finished.sigma_hat == pytest.approx(expected.sigma_hat, rel=1e-3)
    assert finished.done == 1
    assert finished.total == np.count_nonzero(request_.volume.data.any(axis=(0, 1)))
    assert preview.samples is not None
    assert len(preview.samples) == PREVIEW_SAMPLES
    assert session.end() == []


def test_neighbours_follow_and_a_jump_goes_first(request_: Followed) -> None:
    session = Session(request_)
    assert session.see(4) == [(10, True), (10, False), (11, True), (9, True)]
    session.scheduler.look_at(5)
    assert session.see(3) == [(5, True), (5, False), (4, True)]


def test_a_slice_scrolled_past_while_it_is_computed_is_given_up(request_: Followed) -> None:
    calls: list[tuple[int, int]] = []

    def scroll(done: int, total: int) -> None:
        calls.append((done, total))
        if calls[-1] == (1, 3) and calls.count((1, 3)) == 1:
            session.scheduler.look_at(4)

    session = Session(request_, on_step=scroll)
    assert session.see(3) == [(10, True), (4, True), (4, False)]
    assert calls[calls.index((1, 3)) + 1] != (2, 3)


def test_the_network_is_loaded_and_the_volume_prepared_once(
    request_: Followed, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded, prepared = [], []
    build, check = Checkpoint.build, follow.__globals__["open_job"]
    monkeypatch.setattr(Checkpoint, "build", lambda self, device: loaded.append(1) or build(self, device))
    monkeypatch.setitem(follow.__globals__, "open_job", lambda *a, **k: prepared.append(1) or check(*a, **k))
    Session(request_).take(6)
    assert loaded == prepared == [1]


def test_finished_slices_come_back_at_once_before_the_network_is_loaded(
    request_: Followed, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = Session(request_)
    finished = first.take(2)[1]
    first.end()
    monkeypatch.setattr(Checkpoint, "build", lambda self, device: pytest.fail("loaded"))
    again = Session(replace(request_, volume=Volume(head(), RAS, Contrast.T1, "renamed")), first.cache)
    (update,) = again.take(1)
    assert not update.preview
    np.testing.assert_array_equal(update.mean, finished.mean)


def test_a_remembered_slice_is_not_computed_again(request_: Followed) -> None:
    first = Session(request_)
    first.take(2)
    first.end()
    again = Session(request_, first.cache)
    assert again.see(3) == [(10, False), (11, True), (9, True)]


@pytest.mark.parametrize(
    "change",
    [
        {"target": Contrast.FLAIR},
        {"source": Contrast.FLAIR},
        {"n": 5},
        {"seed": 1},
        {"steps": 2},
        {"sampler": "heun"},
        {"prepare": False},
        {"volume": Volume(head(seed=1), RAS, Contrast.T1)},
        {"volume": Volume(head(), np.diag([1, 1, 2, 1]), Contrast.T1)},
    ],
    ids=lambda change: next(iter(change)),
)
def test_other_settings_are_other_slices(request_: Followed, change: dict[str, Any]) -> None:
    if "volume" in change:
        assert replace(request_, **change).key() != request_.key()
    else:
        assert replace(request_, request=replace(request_.request, **change)).key() != request_.key()


def test_another_checkpoint_has_other_slices(request_: Followed, direct: Checkpoint, tmp_path: Path) -> None:
    keys = {replace(request_, checkpoint=checkpoint).key() for checkpoint in (request_.checkpoint, direct)}
    retrained = tiny_checkpoint(tmp_path / "tiny-flow.safetensors", seed=1)
    keys.add(replace(request_, checkpoint=retrained).key())
    assert len(keys) == 3


def test_members_of_a_pool_preview_in_one_step(
    request_: Followed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(helpers.OPTIONS, "ncsn", {"prediction": "preconditioned"})
    members = [tiny_checkpoint(tmp_path / f"tiny-{family}.safetensors", family) for family in ("flow", "ncsn")]
    pool = make_pool("tiny-pool", members, tmp_path)
    calls: list[int] = []
    request = replace(request_, checkpoint=pool, request=Request(Contrast.T2, n=10))
    session = Session(request, on_step=lambda done, total: calls.append(total))
    assert session.take(1)[0].preview
    assert set(calls) == {2}  # one of either
    (finished,) = session.take(1)
    (expected,) = stream(request.volume, pool, target="T2", n=10, slices=(10, 11))
    np.testing.assert_allclose(finished.mean, expected.mean, atol=2e-5)


def test_deterministic_models_need_no_preview(request_: Followed, direct: Checkpoint) -> None:
    session = Session(replace(request_, checkpoint=direct))
    assert session.see(3) == [(10, False), (11, False), (9, False)]


def test_a_request_that_cannot_be_served_is_one_line(request_: Followed) -> None:
    with pytest.raises(MrtransError, match="is T1 already"):
        Session(replace(request_, request=Request(Contrast.T1))).take(1)


def test_out_of_memory_keeps_what_is_finished(request_: Followed, monkeypatch: pytest.MonkeyPatch) -> None:
    session = Session(request_)
    session.take(2)
    engine = "napari_mrtrans.transformation.engine.Engine._sample"
    monkeypatch.setattr(engine, lambda *a: (_ for _ in ()).throw(MemoryError))
    with pytest.raises(OutOfMemory, match="ran out of memory at slice 11"):
        session.take(1)
    assert len(session.cache) == 1


def test_numbers_that_are_no_image_are_named_and_not_shown(request_: Followed, monkeypatch: pytest.MonkeyPatch) -> None:
    spoil(monkeypatch, 3)  # preview and samples 1 to 4 of slice 10, its last two, then the preview of slice 11
    session = Session(request_)
    assert session.see(2) == [(10, True), (10, False)]
    with pytest.raises(MrtransError, match=r"'tiny-flow' gave NaN or infinity for slice 11, sample 4: the file is"):
        session.take(1)
    assert [update.index for update in session.cache.of(request_.key())] == [10]

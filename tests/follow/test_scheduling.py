from __future__ import annotations

import threading

import pytest

from napari_mrtrans.follow.scheduling import Scheduler, Task


@pytest.fixture
def scheduler() -> Scheduler:
    """Slices 10 to 89 of 100 have head; slice 50 is on screen."""
    scheduler = Scheduler(reach=2)
    scheduler.offer(range(10, 90))
    scheduler.look_at(50)
    return scheduler


def work_off(scheduler: Scheduler, count: int) -> list[tuple[int, bool]]:
    """Do so many tasks, as (index, preview)."""
    done = []
    for _ in range(count):
        task = scheduler.next()
        assert task is not None
        assert scheduler.wanted(task)
        scheduler.finish(task)
        done.append((task.index, task.preview))
    return done


def waits(scheduler: Scheduler) -> bool:
    """Whether ``next`` has nothing to give; closes the scheduler."""
    asked = threading.Thread(target=scheduler.next)
    asked.start()
    asked.join(0.05)
    idle = asked.is_alive()
    scheduler.close()
    asked.join(5)
    assert not asked.is_alive()
    return idle


def test_the_slice_on_screen_comes_first_then_previews_of_its_neighbours_then_their_refinement(
    scheduler: Scheduler,
) -> None:
    assert work_off(scheduler, 10) == [
        (50, True),
        (50, False),
        *((index, True) for index in (51, 49, 52, 48)),
        *((index, False) for index in (51, 49, 52, 48)),
    ]
    assert scheduler.finished == 5
    assert waits(scheduler)


def test_neighbours_ahead_of_the_user_come_first(scheduler: Scheduler) -> None:
    scheduler.look_at(40)
    assert [index for index, _ in work_off(scheduler, 6)] == [40, 40, 39, 41, 38, 42]


def test_without_previews_every_slice_is_computed_once() -> None:
    scheduler = Scheduler(reach=1)
    scheduler.offer(range(5), previews=False)
    scheduler.look_at(2)
    assert work_off(scheduler, 3) == [(2, False), (3, False), (1, False)]
    assert waits(scheduler)


def test_scrolling_past_a_slice_drops_it_and_never_begins_those_between(scheduler: Scheduler) -> None:
    task = scheduler.next()
    assert task == Task(50, preview=True)
    for index in range(51, 81):
        scheduler.look_at(index)
        assert not scheduler.wanted(task)
    assert scheduler.next() == Task(80, preview=True)


def test_a_neighbour_under_way_is_dropped_only_for_what_is_missing_on_screen(scheduler: Scheduler) -> None:
    work_off(scheduler, 7)
    task = scheduler.next()
    assert task == Task(49, preview=False)
    scheduler.look_at(51)  # finished: nothing on screen waits
    assert scheduler.wanted(task)
    scheduler.look_at(52)  # a preview
    assert not scheduler.wanted(task)
    scheduler.look_at(49)  # on screen itself
    assert scheduler.wanted(task)
    scheduler.look_at(5)  # no head there, but too far away
    assert not scheduler.wanted(task)


def test_coming_back_goes_on_with_the_preview_that_is_there(scheduler: Scheduler) -> None:
    work_off(scheduler, 1)
    scheduler.look_at(70)
    work_off(scheduler, 2)
    scheduler.look_at(50)
    assert work_off(scheduler, 1) == [(50, False)]
    scheduler.look_at(70)
    assert work_off(scheduler, 1) == [(71, True)]


def test_where_all_slices_are_on_display_they_are_all_filled_outwards(scheduler: Scheduler) -> None:
    scheduler.look_at(88, everything=True)
    done = work_off(scheduler, 160)
    assert [index for index, _ in done[:6]] == [88, 88, 89, 87, 86, 85]
    assert {index for index, preview in done if not preview} == set(range(10, 90))
    assert waits(scheduler)


def test_slices_without_head_are_not_computed_but_their_neighbours_are(scheduler: Scheduler) -> None:
    scheduler.look_at(8)
    assert work_off(scheduler, 2) == [(10, True), (10, False)]
    assert waits(scheduler)


def test_moving_on_wakes_who_waits(scheduler: Scheduler) -> None:
    scheduler.look_at(0)
    got: list[Task | None] = []
    asked = threading.Thread(target=lambda: got.append(scheduler.next()))
    asked.start()
    scheduler.look_at(30)
    asked.join(5)
    assert got == [Task(30, preview=True)]


def test_closed_it_gives_and_wants_nothing(scheduler: Scheduler) -> None:
    task = scheduler.next()
    assert task is not None
    scheduler.close()
    assert scheduler.next() is None
    assert not scheduler.wanted(task)

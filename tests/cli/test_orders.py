"""Orders on a pipe, as a window gives them to a command."""

from __future__ import annotations

import os
from threading import Event

import pytest

from napari_mrtrans.cli import orders
from napari_mrtrans.cli.orders import NO_ORDERS, Orders


@pytest.fixture
def ended(monkeypatch: pytest.MonkeyPatch) -> Event:
    """Set where the process would end."""
    there = Event()
    monkeypatch.setattr(orders, "GRACE", 0.0)
    monkeypatch.setattr(orders.os, "_exit", lambda status: there.set())
    return there


def test_a_line_stops_and_the_end_leaves(ended: Event) -> None:
    reading, writing = os.pipe()
    given = Orders(reading)
    os.write(writing, b"stopwatch\n")
    os.write(writing, b"st")
    assert not given.stop.wait(0.05) and not given.leave.is_set()
    os.write(writing, b"op\r\n")  # in two pieces, as Windows ends lines
    assert given.stop.wait(10) and not given.leave.is_set()
    os.close(writing)
    assert given.leave.wait(10)
    # What does not leave in time is ended.
    assert ended.wait(10)


def test_without_a_window_nothing_is_ordered() -> None:
    assert not NO_ORDERS.stop.is_set() and not NO_ORDERS.leave.is_set()
